//! The printable form of a Plan: one line a step.

use std::fmt;

use crate::{Plan, Rows, ValueId};

impl fmt::Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |id: &ValueId| {
            let value = self.get(*id);
            let rows = match value.rows {
                Rows::Tokens => "tokens".to_owned(),
                Rows::Outputs => "outputs".to_owned(),
                Rows::Routed(chosen) => format!("{chosen}·tokens"),
            };
            format!("{} [{rows}, {}]", value.name, value.width)
        };
        for step in &self.steps {
            let outputs: Vec<String> = step.outputs.iter().map(value).collect();
            let inputs: Vec<&str> = step.inputs.iter().map(|id| self.get(*id).name.as_str()).collect();
            if !outputs.is_empty() {
                write!(formatter, "{} = ", outputs.join(", "))?;
            }
            let line = format!("{} {}({})", step.op.name(), self.parameters_of(step), inputs.join(", "));
            writeln!(formatter, "{}", line.replace(" (", "("))?;
        }
        match self.output {
            Some(id) => writeln!(formatter, "output {}", self.get(id).name),
            None => Ok(()),
        }
    }
}

impl Plan {
    fn parameters_of(&self, step: &crate::Step) -> String {
        step.op.parameters(self)
    }
}
