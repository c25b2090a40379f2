//! The settings of sampling by name: for `/set` in the chat, for the lines of `--jsonl`, and with their defaults.

use bantam_engine::{ChatSettings, SamplingOptions, SamplingSettings};
use serde_json::Value;

use crate::arguments::{finite, not_negative, positive_float, share};

/// A setting that has a name.
pub struct Setting {
    /// Its name, as in the chat API.
    pub name: &'static str,
    /// What it does, in a few words.
    pub help: &'static str,
    set: fn(&mut ChatSettings, Option<&str>) -> Result<(), String>,
    get: fn(&ChatSettings) -> Option<String>,
}

/// All that have one value. `stop`, which has many, stands apart.
pub const SETTINGS: [Setting; 12] = [
    Setting {
        name: "temperature",
        help: "0 takes the likeliest token always; higher is more varied",
        set: |all, text| assign(&mut all.sampling.temperature, text, not_negative),
        get: |all| show(&all.sampling.temperature),
    },
    Setting {
        name: "top_k",
        help: "choose among the K likeliest tokens; 0: all",
        set: |all, text| assign(&mut all.sampling.top_k, text, whole),
        get: |all| show(&all.sampling.top_k),
    },
    Setting {
        name: "top_p",
        help: "choose among the likeliest tokens that together have this probability; 1: all",
        set: |all, text| assign(&mut all.sampling.top_p, text, share),
        get: |all| show(&all.sampling.top_p),
    },
    Setting {
        name: "min_p",
        help: "drop tokens less likely than this share of the likeliest; 0: none",
        set: |all, text| assign(&mut all.sampling.min_p, text, share),
        get: |all| show(&all.sampling.min_p),
    },
    Setting {
        name: "typical_p",
        help: "keep the tokens closest to the expected surprise, up to this probability; 1: all",
        set: |all, text| assign(&mut all.sampling.typical_p, text, share),
        get: |all| show(&all.sampling.typical_p),
    },
    Setting {
        name: "repeat_penalty",
        help: "divide the logits of tokens seen lately by this; 1: off",
        set: |all, text| assign(&mut all.sampling.repeat_penalty, text, positive_float),
        get: |all| show(&all.sampling.repeat_penalty),
    },
    Setting {
        name: "repeat_last_n",
        help: "how many tokens count as lately; -1: the whole context",
        set: |all, text| assign(&mut all.sampling.repeat_last_n, text, last_n),
        get: |all| show(&all.sampling.repeat_last_n),
    },
    Setting {
        name: "presence_penalty",
        help: "subtract this from the logits of tokens seen lately; 0: off",
        set: |all, text| assign(&mut all.sampling.presence_penalty, text, finite),
        get: |all| show(&all.sampling.presence_penalty),
    },
    Setting {
        name: "frequency_penalty",
        help: "subtract this for each time a token was seen lately; 0: off",
        set: |all, text| assign(&mut all.sampling.frequency_penalty, text, finite),
        get: |all| show(&all.sampling.frequency_penalty),
    },
    Setting {
        name: "seed",
        help: "the same seed gives the same text",
        set: |all, text| assign(&mut all.seed, text, whole),
        get: |all| show(&all.seed),
    },
    Setting {
        name: "max_tokens",
        help: "most tokens of an answer",
        set: |all, text| assign(&mut all.max_tokens, text, whole),
        get: |all| show(&all.max_tokens),
    },
    Setting {
        name: "think",
        help: "on: the model is asked to think first; off: not to",
        set: |all, text| assign(&mut all.think, text, on_or_off),
        get: |all| all.think.map(|think| if think { "on" } else { "off" }.to_owned()),
    },
];

impl Setting {
    /// The setting with this name.
    pub fn find(name: &str) -> Option<&'static Setting> {
        SETTINGS.iter().find(|setting| setting.name == name)
    }

    /// Reads a value; `None` takes it back to the default.
    ///
    /// # Errors
    /// A sentence that names the setting.
    pub fn set(&self, all: &mut ChatSettings, text: Option<&str>) -> Result<(), String> {
        (self.set)(all, text).map_err(|error| format!("{}: {error}", self.name))
    }

    /// The value that samplers use where nobody chose one.
    pub fn get_resolved(&self, resolved: &SamplingSettings) -> Option<String> {
        let window = resolved.penalty_window.map_or(-1, |window| i64::try_from(window).unwrap_or(i64::MAX));
        let options = SamplingOptions {
            temperature: Some(resolved.temperature),
            top_k: Some(resolved.top_k),
            top_p: Some(resolved.top_p),
            min_p: Some(resolved.min_p),
            typical_p: Some(resolved.typical_p),
            repeat_penalty: Some(resolved.repeat_penalty),
            presence_penalty: Some(resolved.presence_penalty),
            frequency_penalty: Some(resolved.frequency_penalty),
            repeat_last_n: Some(window),
            ..SamplingOptions::default()
        };
        self.get(&ChatSettings { sampling: options, ..ChatSettings::default() })
    }

    /// The value as text, where there is one.
    pub fn get(&self, all: &ChatSettings) -> Option<String> {
        (self.get)(all)
    }
}

/// Sets by name from JSON, as the chat API has it.
///
/// # Errors
/// A sentence that names the setting.
pub fn set_json(all: &mut ChatSettings, name: &str, value: &Value) -> Result<(), String> {
    if name == "stop" {
        all.stop = match value {
            Value::String(text) => vec![text.clone()],
            Value::Array(items) => {
                let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
                texts.collect::<Option<_>>().ok_or("stop: expected a string or a list of strings")?
            }
            _ => return Err("stop: expected a string or a list of strings".into()),
        };
        return Ok(());
    }
    let setting = Setting::find(name).ok_or_else(|| format!("there is no setting '{name}'"))?;
    match value {
        Value::Number(number) => setting.set(all, Some(&number.to_string())),
        _ => Err(format!("{name}: {value} is no number")),
    }
}

fn assign<T>(slot: &mut Option<T>, text: Option<&str>, read: fn(&str) -> Result<T, String>) -> Result<(), String> {
    *slot = text.map(read).transpose()?;
    Ok(())
}

fn show<T: std::fmt::Display>(slot: &Option<T>) -> Option<String> {
    slot.as_ref().map(T::to_string)
}

fn whole<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("'{text}' is no whole number from 0"))
}

fn on_or_off(text: &str) -> Result<bool, String> {
    match text {
        "on" | "true" | "yes" => Ok(true),
        "off" | "false" | "no" => Ok(false),
        _ => Err(format!("'{text}' is neither on nor off")),
    }
}

fn last_n(text: &str) -> Result<i64, String> {
    match text.parse() {
        Ok(number) if number >= -1 => Ok(number),
        _ => Err(format!("'{text}' is no whole number from -1")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(name: &str, value: Value, expected: Result<Option<&str>, &str>) {
        let mut all = ChatSettings::default();
        let found =
            set_json(&mut all, name, &value).map(|()| Setting::find(name).and_then(|setting| setting.get(&all)));
        assert_eq!(found.as_ref().map(Option::as_deref).map_err(String::as_str), expected, "{name} {value}");
    }

    #[test]
    fn settings_are_set_by_name() {
        check("temperature", json!(0), Ok(Some("0")));
        check("temperature", json!(0.7), Ok(Some("0.7")));
        check("temperature", json!(-1), Err("temperature: -1 is below 0"));
        check("temperature", json!("hot"), Err("temperature: \"hot\" is no number"));
        check("top_k", json!(40), Ok(Some("40")));
        check("top_k", json!(-1), Err("top_k: '-1' is no whole number from 0"));
        check("top_p", json!(2), Err("top_p: 2 is not between 0 and 1"));
        check("repeat_last_n", json!(-1), Ok(Some("-1")));
        check("seed", json!(18446744073709551615u64), Ok(Some("18446744073709551615")));
        check("stop", json!(["a", "b"]), Ok(None));
        check("stop", json!([1]), Err("stop: expected a string or a list of strings"));
        check("nonsense", json!(1), Err("there is no setting 'nonsense'"));
    }

    #[test]
    fn a_setting_goes_back_to_its_default() {
        let mut all = ChatSettings::default();
        all.sampling.temperature = Some(1.0);
        let setting = Setting::find("temperature").expect("it is there");
        setting.set(&mut all, None).expect("none is fine");
        assert_eq!(setting.get(&all), None);
    }
}
