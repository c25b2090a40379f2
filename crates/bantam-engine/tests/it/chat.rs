//! Conversations.

use std::sync::atomic::AtomicBool;

use bantam_engine::{
    Answer, ChatModel, ChatSession, ChatSettings, EngineError, Event, FinishReason, Message, Prompt, Reasoning,
    SamplingOptions,
};

use crate::fake::{FakeModel, Mind, START, THINK, tokenizer, tokens};

/// A template: each message between marks, the answer behind the last; thinking opens a thought.
fn render(messages: &[Message], settings: &ChatSettings) -> Result<Prompt, EngineError> {
    let mut rendered = vec![START];
    for message in messages {
        if message.content.contains("forbidden") {
            return Err(EngineError::Refused("the template refuses this".into()));
        }
        let initial = message.role.get(..1).unwrap();
        rendered.extend(tokens(&format!("[{initial}]{}", message.content)));
    }
    rendered.extend(tokens("[a]"));
    let mut reasoning = None;
    if settings.think == Some(true) {
        rendered.push(THINK);
        reasoning = Some(Reasoning { start: "<think>".into(), end: "</think>".into(), opened: true });
    }
    Ok(Prompt { tokens: rendered, reasoning, tools: None })
}

/// Calls with a chat over `model` that is stopped once the answer has `stop_after` in it.
fn with_chat<T>(model: &mut FakeModel, act: impl FnOnce(&mut ChatModel<'_>) -> T) -> T {
    let defaults = SamplingOptions { temperature: Some(0.0), ..SamplingOptions::default() };
    let (tokenizer, cancel, mut render) = (tokenizer(), AtomicBool::new(false), render);
    act(&mut ChatModel {
        model,
        tokenizer: &tokenizer,
        render: &mut render,
        defaults: &defaults,
        stops: &[],
        cancel: &cancel,
    })
}

fn send(session: &mut ChatSession, model: &mut FakeModel, text: &str) -> Result<Answer, EngineError> {
    with_chat(model, |chat| session.send(chat, text, &mut |_| {}))
}

fn regenerate(session: &mut ChatSession, model: &mut FakeModel) -> Result<Answer, EngineError> {
    with_chat(model, |chat| session.regenerate(chat, &mut |_| {}))
}

/// What was said, as `user/answer/…`.
fn said(session: &ChatSession) -> String {
    session.messages().iter().map(|message| message.content.as_str()).collect::<Vec<_>>().join("/")
}

#[test]
fn a_conversation_goes_on_from_where_it_was() {
    let mut model = FakeModel::script(&[
        ("[s]Be kind.[u]Hi[a]", "Hello!"),
        ("[s]Be kind.[u]Hi[a]Hello![u]Bye[a]", "So long."),
        ("[s]Be brief.[u]Hi[a]", "Yo."),
    ]);
    let mut session = ChatSession::new(Some("Be kind.".into()), ChatSettings::default());
    assert_eq!(send(&mut session, &mut model, "Hi").unwrap().text, "Hello!");
    let first = 1 + "[s]Be kind.[u]Hi[a]".len() + "Hello!".len();
    assert_eq!((model.rows, session.held_tokens()), (first, first));
    let answer = send(&mut session, &mut model, "Bye").unwrap();
    assert_eq!(said(&session), "Hi/Hello!/Bye/So long.");
    // Only what is new was computed.
    let second = "[u]Bye[a]".len();
    assert_eq!((model.rows, answer.timings.prompt_n), (first + second + "So long.".len(), second));
    assert_eq!(answer.usage.prompt_tokens, first + second);
    // Once more: the last token of the prompt, and the answer.
    let rows = model.rows;
    assert_eq!(regenerate(&mut session, &mut model).unwrap().text, "So long.");
    assert_eq!((said(&session).as_str(), model.rows - rows), ("Hi/Hello!/Bye/So long.", 1 + "So long.".len()));
    // Another beginning: what is shared is kept.
    session.clear();
    session.system = Some("Be brief.".into());
    let rows = model.rows;
    assert_eq!(send(&mut session, &mut model, "Hi").unwrap().text, "Yo.");
    assert_eq!(model.rows - rows, "brief.[u]Hi[a]".len() + "Yo.".len());
    assert_eq!(model.open_sequences(), 1);
    session.close(&mut model);
    assert_eq!((model.open_sequences(), said(&session).as_str()), (0, "Hi/Yo."));
    assert_eq!(regenerate(&mut session, &mut model).unwrap().text, "Yo.", "it can be taken up again");
}

#[test]
fn answers_once_more_draw_anew() {
    let mut model = FakeModel::new(Mind::Hash(5));
    let settings = ChatSettings {
        seed: Some(9),
        max_tokens: Some(12),
        sampling: SamplingOptions { temperature: Some(1.0), top_k: Some(0), ..SamplingOptions::default() },
        ..ChatSettings::default()
    };
    let mut session = ChatSession::new(None, settings.clone());
    assert!(matches!(regenerate(&mut session, &mut model), Err(EngineError::NothingToRegenerate)));
    let first = send(&mut session, &mut model, "Hi").unwrap();
    let second = regenerate(&mut session, &mut model).unwrap();
    let third = regenerate(&mut session, &mut model).unwrap();
    assert!(first.tokens != second.tokens && second.tokens != third.tokens && first.tokens != third.tokens);
    assert_eq!(session.messages().len(), 2);
    let mut again = ChatSession::new(None, settings);
    assert_eq!(send(&mut again, &mut model, "Hi").unwrap().tokens, first.tokens);
    assert_eq!(regenerate(&mut again, &mut model).unwrap().tokens, second.tokens);
}

#[test]
fn thoughts_are_kept_apart() {
    let mut model = FakeModel::script(&[("[u]Hi[a]<think>", "Greet.\n</think>\n\nHello!")]);
    let settings = ChatSettings { think: Some(true), ..ChatSettings::default() };
    let mut session = ChatSession::new(None, settings);
    send(&mut session, &mut model, "Hi").unwrap();
    let expected = Message { reasoning_content: Some("Greet.".into()), ..Message::new("assistant", "Hello!") };
    assert_eq!(session.messages()[1], expected);
}

#[test]
fn stopped_answers_stay_as_far_as_they_got() {
    let lines = [("[u]Hi[a]", "Hello!"), ("[u]Hi[a]Hello![u]So[a]", "So what?")];
    let mut model = FakeModel { interrupt_at: Some(9), ..FakeModel::script(&lines) };
    let mut session = ChatSession::default();
    send(&mut session, &mut model, "Hi").unwrap();
    let answer = send(&mut session, &mut model, "So").unwrap();
    assert_eq!((answer.finish_reason, said(&session).as_str()), (FinishReason::Cancelled, "Hi/Hello!/So/So"));
    // Stopped before it began: nothing joins, and what was there before stays.
    model.interrupt_at = Some(model.runs);
    assert_eq!(regenerate(&mut session, &mut model).unwrap().text, "");
    assert_eq!(said(&session), "Hi/Hello!/So/So");
    model.interrupt_at = Some(model.runs);
    send(&mut session, &mut model, "Now").unwrap();
    assert_eq!(said(&session), "Hi/Hello!/So/So");
    assert_eq!(regenerate(&mut session, &mut model).unwrap().text, "So what?");
    assert!(send(&mut session, &mut model, "forbidden").is_err());
    assert_eq!(said(&session), "Hi/Hello!/So/So what?");
}

#[test]
fn the_limit_is_told_and_the_oldest_dropped() {
    let mut model = FakeModel { context: 64, ..FakeModel::new(Mind::Hash(2)) };
    let settings = ChatSettings { max_tokens: Some(6), ..ChatSettings::default() };
    let mut session = ChatSession::new(Some("Sys".into()), settings);
    let mut exchanges = 0;
    let error = loop {
        match send(&mut session, &mut model, "Message") {
            Ok(_) => exchanges += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(session.messages().len(), 2 * exchanges);
    assert!(exchanges >= 2);
    let EngineError::ChatFull { tokens, reserve, context } = error else { panic!("{error}") };
    assert_eq!((context, reserve), (64, 6));
    assert!(tokens + reserve > context);
    assert_eq!(
        error.to_string(),
        format!("the conversation is full: it takes {tokens} tokens of a context of 64, and an answer needs 6 more")
    );
    let dropped = with_chat(&mut model, |chat| session.drop_oldest(chat, Some("Message"))).unwrap();
    assert!(dropped >= 1);
    assert_eq!(session.messages().len(), 2 * (exchanges - dropped));
    assert!(session.messages().first().is_none_or(|message| message.role == "user"));
    assert_eq!(session.system.as_deref(), Some("Sys"));
    assert!(session.held_tokens() > 0);
    send(&mut session, &mut model, "Message").unwrap();
    // Too long by itself: nothing is dropped for it.
    let (long, before) = ("x".repeat(64), said(&session));
    let error = with_chat(&mut model, |chat| session.drop_oldest(chat, Some(&long))).unwrap_err();
    assert!(matches!(error, EngineError::ChatFull { .. }));
    assert_eq!(said(&session), before);
    // Nothing to come: dropping goes on until half is free, or all is dropped.
    let all = session.messages().len() / 2;
    let dropped = with_chat(&mut model, |chat| session.drop_oldest(chat, None)).unwrap();
    assert!(dropped <= all);
    assert_eq!(session.messages().len(), 2 * (all - dropped));
}

#[test]
fn conversations_are_saved_whole() {
    let folder = std::env::temp_dir().join(format!("bantam-engine-chat-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("chat.json");
    let settings = ChatSettings {
        seed: Some(u64::MAX),
        stop: vec!["\n".into()],
        sampling: SamplingOptions { top_p: Some(0.9), ..SamplingOptions::default() },
        ..ChatSettings::default()
    };
    let mut session = ChatSession::new(Some("Be kind.".into()), settings.clone());
    let mut model = FakeModel::script(&[("[s]Be kind.[u]Hi[a]", "Hello 🦜!")]);
    session.settings.sampling.temperature = Some(0.0);
    send(&mut session, &mut model, "Hi").unwrap();
    session.save(&path).unwrap();
    session.save(&path).unwrap();
    let mut loaded = ChatSession::default();
    loaded.load(&path).unwrap();
    assert_eq!(
        (loaded.messages(), &loaded.system, &loaded.settings),
        (session.messages(), &session.system, &session.settings)
    );
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
    let names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["chat.json"], "nothing is left beside it");
    // What is none is refused, and the conversation stays.
    let other = folder.join("other.json");
    std::fs::write(&other, "[1, 2]").unwrap();
    let error = loaded.load(&other).unwrap_err().to_string();
    assert_eq!(error, format!("{} is no saved conversation: it has no \"bantam_chat\"", other.display()));
    let missing = folder.join("missing.json");
    let error = loaded.load(&missing).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{} cannot be read: ", missing.display())), "{error}");
    let error = loaded.save(&folder.join("no/where.json")).unwrap_err().to_string();
    assert!(error.contains("cannot be written: "), "{error}");
    assert_eq!(loaded.messages(), session.messages());
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn answers_stream() {
    let mut model = FakeModel::script(&[("[u]Hi[a]", "Hello!")]);
    let (mut session, mut text) = (ChatSession::default(), String::new());
    let mut hear = |event: Event<'_>| {
        if let Event::Text(piece) = event {
            text.push_str(piece);
        }
    };
    with_chat(&mut model, |chat| session.send(chat, "Hi", &mut hear)).unwrap();
    assert_eq!(text, "Hello!");
}
