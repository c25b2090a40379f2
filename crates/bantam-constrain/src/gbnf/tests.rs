//! A grammar in long words allows what it allows a character at a time.

use bantam_testkit::Random;
use bantam_text::{Tokenizer, Vocabulary};
use llguidance::api::TopLevelGrammar;

use super::parts::Parts;
use super::{parse, to_lark_of_characters, write};
use crate::Compiler;

/// Every byte, and words that cross the borders of a grammar's words.
fn vocabulary() -> Tokenizer {
    let mut tokens: Vec<(String, i32)> = [("<unk>", 2), ("<s>", 3), ("</s>", 3)].map(|(a, b)| (a.to_owned(), b)).into();
    tokens.extend((0..=255_u8).map(|byte| (format!("<0x{byte:02X}>"), 6)));
    let words =
        "▁|▁▁|ab|aba|bb|\":|\"}|{\"|],|12|1.|()|((|))|a=|if▁|iff|(a|a)|▁a|b▁|éa|è|\n▁|\n\n|+1|--|aé|,▁\"|a▁\n|true}|cc";
    tokens.extend(words.split('|').map(|word| (word.to_owned(), 1)));
    tokens.push(("<think>".to_owned(), 3));
    Tokenizer::from_vocabulary(Vocabulary {
        model: "llama".into(),
        scores: (0..tokens.len()).map(|id| -(id as f32)).collect(),
        types: tokens.iter().map(|(_, kind)| *kind as _).collect(),
        tokens: tokens.into_iter().map(|(text, _)| text.into_bytes()).collect(),
        bos: Some(1),
        eos: Some(2),
        unknown: Some(0),
        ..Vocabulary::default()
    })
    .unwrap()
}

/// Walks along both forms of a grammar and compares all they allow; how many words the long form has, unless no answer can
/// begin.
fn compare(compiler: &Compiler, tokenizer: &Tokenizer, source: &str, (walks, steps): (u64, usize)) -> Option<usize> {
    let grammar = parse::parse(source, tokenizer).unwrap();
    let parts = Parts::longest(&grammar);
    let long = compiler.compile(TopLevelGrammar::from_lark(write::write(&parts)));
    let short = compiler.compile(TopLevelGrammar::from_lark(to_lark_of_characters(source, tokenizer).unwrap()));
    let (long, short) = match (long, short) {
        (Ok(long), Ok(short)) => (long, short),
        (Err(_), Err(_)) => return None,
        (long, short) => panic!("{source}: {:?}, {:?}", long.err(), short.err()),
    };
    let mut allowed = [vec![0.0_f32; tokenizer.vocabulary_len()], vec![0.0; tokenizer.vocabulary_len()]];
    for seed in 0..walks {
        let mut random = Random::new(seed);
        let mut sessions = [long.begin(), short.begin()];
        let mut answer = Vec::new();
        for _ in 0..steps {
            let finished = sessions.each_ref().map(|session| session.is_finished());
            let accepting = sessions.each_mut().map(|session| session.is_accepting());
            let behind = String::from_utf8_lossy(&answer).into_owned();
            assert_eq!(accepting[0], accepting[1], "{source}: whole behind {behind:?}?");
            assert_eq!(finished[0], finished[1], "{source}: over behind {behind:?}?");
            if finished[0] {
                break;
            }
            let mut masked = sessions.iter_mut().zip(&mut allowed).map(|(session, allowed)| {
                allowed.fill(0.0);
                session.mask(allowed, false)
            });
            // Some have so many readings, a character at a time, that the work for a token is not done.
            if masked.by_ref().any(|masked| masked.is_err()) {
                break;
            }
            let tokens = allowed.each_ref().map(|logits| {
                (0_u32..).zip(logits).filter(|(_, logit)| **logit == 0.0).map(|(id, _)| id).collect::<Vec<u32>>()
            });
            assert_eq!(tokens[0], tokens[1], "{source}: behind {behind:?}");
            let token = tokens[0][random.below(tokens[0].len())];
            if tokenizer.end_of_generation().contains(&token) {
                break;
            }
            sessions.iter_mut().for_each(|session| session.accept(token, false).unwrap());
            answer.extend_from_slice(tokenizer.token_bytes(token).unwrap_or_default());
        }
    }
    Some(parts.words().len())
}

const JSON: &str = r##"
root ::= blank value
value ::= ( "{" blank ( text ":" blank value ( "," blank text ":" blank value )* )? "}"
  | "[" blank ( value ( "," blank value )* )? "]" | text | digits | "true" | "null" ) blank
text ::= "\"" ( [^"\\\x00-\x1f] | "\\" [nt"\\] )* "\"" blank
digits ::= "-"? ( "0" | [1-9] [0-9]* ) ( "." [0-9]{1,3} )?
blank ::= [ \n]*
"##;

#[test]
fn long_words_change_no_answer() {
    // The most words that a grammar should fall into.
    let grammars: &[(&str, usize)] = &[
        (JSON, 14),
        ("root ::= item (\",\" item){0,3}\nitem ::= [0-9]{1,2} | \"(\" root \")\"\n", 5),
        // Names that go on as keywords, calls and assignments do.
        (
            "root ::= line+\nline ::= name \" = \" sum \"\\n\" | \"if \" sum \" \" line\nsum ::= name | name \"(\" sum \")\" | \"(\" sum \")\"\nname ::= [a-c]+ [a-c0-9]*\n",
            12,
        ),
        // What follows a word may go on with it: blanks before a newline, digits behind digits, quotes in quotes.
        (
            "root ::= (sum \"=\" sum \"\\n\")+\nsum ::= [ab] [ab0-9]* space | \"(\" sum \")\" space\nspace ::= [ \\n]*\n",
            30,
        ),
        ("root ::= \"1\" root \"12\" | [12]+ | \"\"\n", 30),
        ("root ::= \"a\" root \"a\" | [ab]+ \"c\" | \"ab\"\n", 30),
        ("root ::= \"\\\"\" root \"\\\"\" | \"\\\"\" [^b]* \"\\\"\"\n", 30),
        ("root ::= [ab]{2} root [ab]{1,2} | \"aé\" | \"aè\"+\n", 30),
        // One character begins as another does.
        ("root ::= \"é\" root \"è\" | \"é\" \"a\"* | \"ê\"\n", 30),
        ("root ::= word | word \" \" root\nword ::= [ab] [ab] \"c\" | \"abb\"\n", 30),
        ("root ::= root \"+\" root | [0-9]+ | \"--\" root\n", 30),
        ("root ::= a a root | \"b\"\na ::= | \"a\" | \"a\"{2,3}\n", 30),
        ("root ::= (root | \"a\"*)* \"b\" | (\"a\" root)? \"c\"{0} \"d\"\n", 30),
        ("root ::= <think> [^<]* <think> root | \"ab\" [ab]*\n", 30),
        ("root ::= !<[5]> root \"a\" | \"ab\"\n", 30),
    ];
    let tokenizer = vocabulary();
    let compiler = Compiler::new(&tokenizer).unwrap();
    for (source, most) in grammars {
        let words =
            compare(&compiler, &tokenizer, source, (8, 30)).unwrap_or_else(|| panic!("{source} begins with nothing"));
        assert!(words <= *most, "{source}: {words} words");
    }
}

/// An expression of few characters, so that words of a grammar meet.
fn expression(random: &mut Random, depth: usize, out: &mut String) {
    let parts = 1 + random.below(3);
    for _ in 0..parts {
        match random.below(if depth > 2 { 5 } else { 8 }) {
            0 => out.push_str("\"a\""),
            1 => out.push_str(["\"ab\"", "\"é\"", "\"ba\"", "\"cab\""][random.below(4)]),
            2 => out.push_str(["[ab]", "[^a]", "[a-cè]", "[^\"é]"][random.below(4)]),
            3 | 4 => out.push_str(["one", "two", "three"][random.below(3)]),
            _ => {
                out.push('(');
                expression(random, depth + 1, out);
                if random.below(2) == 0 {
                    out.push_str(" | ");
                    expression(random, depth + 1, out);
                }
                out.push(')');
            }
        }
        out.push_str(["", "", "", "*", "+", "?", "{1,2}"][random.below(7)]);
        out.push(' ');
    }
}

#[test]
fn long_words_change_no_answer_of_any_grammar() {
    let tokenizer = vocabulary();
    let compiler = Compiler::new(&tokenizer).unwrap();
    let (mut compared, mut longer) = (0, 0);
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let mut source = String::new();
        for name in ["root", "one", "two", "three"] {
            source.push_str(name);
            source.push_str(" ::= ");
            expression(&mut random, 0, &mut source);
            if name != "root" {
                source.push_str(["| \"c\"", "| \"\"", "| [0-9]+", "| \"b\" one"][random.below(4)]);
            }
            source.push('\n');
        }
        let grammar = parse::parse(&source, &tokenizer).unwrap();
        longer += usize::from(Parts::longest(&grammar).words().len() < Parts::characters(&grammar).words().len());
        compared += usize::from(compare(&compiler, &tokenizer, &source, (2, 12)).is_some());
    }
    assert!(compared > 40, "{compared} compared");
    assert!(longer > 15, "{longer} have longer words");
}
