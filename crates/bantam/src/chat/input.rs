//! What a typed input means: a message, or a command with its arguments. Pure, so that it is tested without a terminal.

/// The delimiter of an input of several lines.
const BLOCK: &str = "\"\"\"";

/// What the user typed.
#[derive(Debug, PartialEq, Eq)]
pub enum Input {
    /// Nothing but white space.
    Nothing,
    /// Text for the model.
    Message(String),
    /// A command known to the table, and what stands after it, trimmed.
    Command(Command, String),
    /// A word with a slash that is no command.
    Unknown(String),
}

/// The chat's commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the table below says what each does")]
pub enum Command {
    Help,
    Clear,
    System,
    Set,
    Regen,
    Result,
    Save,
    Load,
    Bye,
}

/// Names, arguments and help of the commands. Names that mean the same stand together; the first is the one shown.
pub const COMMANDS: [(Command, &[&str], &str, &str); 9] = [
    (Command::Help, &["/help", "/?"], "", "this list"),
    (Command::Clear, &["/clear"], "", "forget the conversation, keep the system prompt and settings"),
    (Command::System, &["/system"], "[TEXT]", "show or change the system prompt; /system none removes it"),
    (Command::Set, &["/set"], "[NAME VALUE]", "show or change a setting; VALUE 'default' takes the model's own"),
    (Command::Regen, &["/regen"], "", "answer the last message once more"),
    (Command::Result, &["/result"], "TEXT", "give the model the result of the tool it called"),
    (Command::Save, &["/save"], "FILE", "keep the conversation in a file"),
    (Command::Load, &["/load"], "FILE", "go on with a conversation from a file"),
    (Command::Bye, &["/bye", "/quit", "/exit"], "", "leave (or Ctrl-D)"),
];

/// Whether more lines must follow before the input can be read.
pub fn is_incomplete(text: &str) -> bool {
    match text.trim_start().strip_prefix(BLOCK) {
        Some(rest) => !rest.trim_end().ends_with(BLOCK),
        None => {
            // An odd number of backslashes: the last one is not itself escaped.
            text.len().wrapping_sub(text.trim_end_matches('\\').len()) % 2 == 1
        }
    }
}

/// Reads one whole input.
pub fn parse(text: &str) -> Input {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Input::Nothing;
    }
    if let Some(block) = trimmed.strip_prefix(BLOCK) {
        let block = block.strip_suffix(BLOCK).unwrap_or(block);
        let block = block.strip_prefix('\n').unwrap_or(block);
        return Input::Message(block.strip_suffix('\n').unwrap_or(block).to_owned());
    }
    // A space before the slash makes it text, so that a message can begin with a path.
    if text.starts_with('/') {
        let (name, rest) = trimmed.split_once(char::is_whitespace).unwrap_or((trimmed, ""));
        return match COMMANDS.iter().find(|(_, names, _, _)| names.contains(&name)) {
            Some((command, ..)) => Input::Command(*command, rest.trim().to_owned()),
            None => Input::Unknown(name.to_owned()),
        };
    }
    Input::Message(text.replace("\\\n", "\n").trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Input) {
        assert_eq!(parse(text), expected, "{text:?}");
    }

    fn message(text: &str) -> Input {
        Input::Message(text.to_owned())
    }

    #[test]
    fn inputs_are_read() {
        check("", Input::Nothing);
        check(" \t\n", Input::Nothing);
        check("hello", message("hello"));
        check("  hello \n", message("hello"));
        check("one \\\ntwo", message("one \ntwo"));
        check("one\ntwo", message("one\ntwo"));
        check("\"\"\"\none\n\n  two\n\"\"\"", message("one\n\n  two"));
        check("\"\"\"one\"\"\"", message("one"));
        check("\"\"\"/help\"\"\"", message("/help"));
        check(" /etc/hosts is what?", message("/etc/hosts is what?"));
        check("/etc/hosts is what?", Input::Unknown("/etc/hosts".into()));
        check("/help", Input::Command(Command::Help, String::new()));
        check("/quit ", Input::Command(Command::Bye, String::new()));
        check("/set temperature  0.5 ", Input::Command(Command::Set, "temperature  0.5".into()));
        check("/system Be brief.\nBe kind.", Input::Command(Command::System, "Be brief.\nBe kind.".into()));
    }

    #[test]
    fn inputs_go_on() {
        for (text, expected) in [
            ("hello", false),
            ("hello\\", true),
            ("hello\\\\", false),
            ("\"\"\"", true),
            ("\"\"\"one", true),
            ("\"\"\"one\ntwo\"\"\"", false),
            ("say \"\"\"", false),
        ] {
            assert_eq!(is_incomplete(text), expected, "{text:?}");
        }
    }
}
