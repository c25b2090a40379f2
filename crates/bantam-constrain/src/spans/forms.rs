//! What calls a model can make, as its file's metadata says it.

use serde_json::Value;

/// Most names, slots of a name and bytes of a word that are believed.
const MOST_NAMES: usize = 4096;
const MOST_SLOTS: usize = 64;
const LONGEST_NAME: usize = 256;

/// A name and its slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallForm {
    /// The name.
    pub name: String,
    /// Its slots, at most 64.
    pub slots: Vec<String>,
}

/// All calls that a model can make, and how sure it must be.
#[derive(Clone, Debug, PartialEq)]
pub struct CallForms {
    /// The calls.
    pub calls: Vec<CallForm>,
    /// The call that stands for none of the others, an index into `calls`.
    pub none: Option<usize>,
    /// Where the likeliest other name has less than this probability, it is `none`.
    pub least: f32,
    /// Slope and offset of the logistic curve that makes a confidence of a call's log-odds (Platt 1999).
    pub calibration: [f32; 2],
}

impl CallForms {
    /// Reads `{"calls": {NAME: [SLOT, …], …}, "none": NAME, "least": 0.5, "calibration": [1, 0]}`; all but `calls` may be
    /// left out.
    ///
    /// # Errors
    /// What is missing, of the wrong type or too much, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| format!("no JSON: {error}"))?;
        let object = value.as_object().ok_or("expected an object")?;
        if let Some(key) = object.keys().find(|key| !["calls", "none", "least", "calibration"].contains(&&key[..])) {
            return Err(format!("`{}` is not known", key.chars().take(40).collect::<String>()));
        }
        let named = object.get("calls").and_then(Value::as_object).ok_or("`calls`: expected an object")?;
        if named.is_empty() || named.len() > MOST_NAMES {
            return Err(format!("`calls`: {} names, expected 1 to {MOST_NAMES}", named.len()));
        }
        let short = |name: &str| match name.len() {
            1..=LONGEST_NAME => Ok(name.to_owned()),
            long => Err(format!("`calls`: a name of {long} bytes, expected 1 to {LONGEST_NAME}")),
        };
        let mut calls = Vec::with_capacity(named.len());
        for (name, slots) in named {
            let slots = slots.as_array().filter(|slots| slots.len() <= MOST_SLOTS);
            let slots = slots.ok_or_else(|| format!("`calls`: expected lists of at most {MOST_SLOTS} slots"))?;
            let text = |slot: &Value| slot.as_str().ok_or("`calls`: a slot is no string".to_owned()).and_then(short);
            calls.push(CallForm { name: short(name)?, slots: slots.iter().map(text).collect::<Result<_, _>>()? });
        }
        let none = match object.get("none") {
            None => None,
            Some(name) => {
                let at = calls.iter().position(|call| Some(&call.name[..]) == name.as_str());
                Some(at.ok_or("`none` is no name of `calls`")?)
            }
        };
        let number = |value: &Value| value.as_f64().map(|x| x as f32).filter(|x| x.is_finite());
        let least = match object.get("least") {
            None => 0.0,
            Some(least) => number(least).filter(|x| (0.0..=1.0).contains(x)).ok_or("`least`: expected 0 to 1")?,
        };
        let calibration = match object.get("calibration") {
            None => [1.0, 0.0],
            Some(pair) => match pair.as_array().map(|pair| pair.iter().map(number).collect::<Vec<_>>()).as_deref() {
                Some([Some(slope), Some(offset)]) => [*slope, *offset],
                _ => return Err("`calibration`: expected two numbers".into()),
            },
        };
        Ok(Self { calls, none, least, calibration })
    }
}
