//! The report of a run as one HTML file: curves, and the base model beside the tuned one.
//!
//! It holds everything itself, runs no script and asks no network. What a model or a data file wrote is escaped, and the page's
//! own policy forbids whatever might slip through.

use std::fmt::Write as _;

/// What the page shows.
#[derive(Debug, Default)]
pub struct Page {
    /// The model's name.
    pub model: String,
    /// What is worth knowing, name and value.
    pub facts: Vec<(String, String)>,
    /// The loss of each step.
    pub losses: Vec<f64>,
    /// Validation losses: the step and the loss.
    pub validation: Vec<(usize, f64)>,
    /// The measurement of the weights that were kept.
    pub kept: Option<(usize, f64)>,
    /// Whether losses are of tokens, so that they have a perplexity.
    pub likelihood: bool,
    /// The learning rate of each step.
    pub rates: Vec<f64>,
    /// Answers to prompts of the held-out split.
    pub samples: Vec<Sample>,
}

/// A prompt of the held-out split with its answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// What was asked, as the model sees it.
    pub prompt: String,
    /// What the data answer.
    pub expected: String,
    /// What the base model answers.
    pub base: String,
    /// What the tuned model answers.
    pub tuned: String,
}

/// A text as it may stand in HTML, in elements and in attributes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(character),
            // HTML has no way to write these, and those that turn the direction of text would reach beyond their box.
            control if control.is_control() || matches!(control, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out
}

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1c1d21;--dim:#6b7280;--line:#d8dbe0;--paper:#fff;--one:#2563eb;--two:#d97706}\
@media(prefers-color-scheme:dark){:root{--ink:#e6e7ea;--dim:#9aa1ac;--line:#3a3d44;--paper:#17181b;--one:#7aa2ff;--two:#f0b35a}}\
body{margin:2rem auto;max-width:60rem;padding:0 1rem;font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper)}\
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}\
table{border-collapse:collapse}th,td{text-align:left;padding:.2rem 1rem .2rem 0;border-bottom:1px solid var(--line)}\
td.number{text-align:right;font-variant-numeric:tabular-nums}\
svg{width:100%;height:auto}svg text{fill:var(--dim);font-size:11px}\
.axis{stroke:var(--line)}.one{stroke:var(--one)}.two{stroke:var(--two)}.faint{opacity:.3}\
polyline{fill:none;stroke-width:1.6;stroke-linejoin:round}circle{fill:var(--two);stroke:none}\
.key{color:var(--dim)}.key b{font-weight:600}.key .a{color:var(--one)}.key .b{color:var(--two)}\
.sample{border:1px solid var(--line);border-radius:6px;padding:.5rem 1rem;margin:1rem 0}\
.answers{display:grid;grid-template-columns:repeat(auto-fit,minmax(14rem,1fr));gap:1rem}\
pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:.2rem 0;font:14px/1.45 ui-monospace,monospace}\
.dim{color:var(--dim)}";

impl Page {
    /// The whole file.
    pub fn html(&self) -> String {
        let mut out = String::new();
        let title = format!("{} tuned", escape(&self.model));
        let _ = write!(
            out,
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
             <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head>\n\
             <body><h1>{title}</h1>\n<table>"
        );
        for (name, value) in &self.facts {
            let _ = writeln!(out, "<tr><th scope=\"row\">{}</th><td>{}</td></tr>", escape(name), escape(value));
        }
        out.push_str("</table>\n");
        let steps = self.losses.len().max(self.validation.last().map_or(0, |(step, _)| *step));
        let measured: Vec<(f64, f64)> = self.validation.iter().map(|(step, loss)| (*step as f64, *loss)).collect();
        let losses: Vec<(f64, f64)> =
            self.losses.iter().enumerate().map(|(step, loss)| (step as f64 + 1.0, *loss)).collect();
        let chart = Chart {
            name: "Loss",
            steps,
            lines: &[("one faint", &losses), ("one", &evened(&losses)), ("two", &measured)],
            points: &measured,
        };
        let _ = write!(
            out,
            "<h2>Loss</h2><p class=\"key\"><b class=\"a\">—</b> of each step, evened out{}</p>\n{}",
            if measured.is_empty() { "" } else { " · <b class=\"b\">—</b> on the validation examples" },
            chart.svg()
        );
        let rates: Vec<(f64, f64)> =
            self.rates.iter().enumerate().map(|(step, rate)| (step as f64 + 1.0, *rate)).collect();
        let chart = Chart { name: "Learning rate", steps, lines: &[("one", &rates)], points: &[] };
        let _ = write!(out, "<h2>Learning rate</h2>\n{}", chart.svg());
        self.comparison(&mut out);
        out.push_str("</body></html>\n");
        out
    }

    /// Base and tuned on the held-out split.
    fn comparison(&self, out: &mut String) {
        out.push_str("<h2>Base and tuned on the held-out examples</h2>\n");
        let (Some((_, base)), Some((_, tuned))) = (self.validation.first(), &self.kept) else {
            out.push_str(
                "<p>No examples were held out. With <code>--validation 0.1</code> a part of the data is kept apart, and \
                 what has been learned can be told from what has been learned by heart.</p>\n",
            );
            return;
        };
        out.push_str("<table><tr><th></th><th>base</th><th>tuned</th></tr>\n");
        let mut row = |name: &str, base: String, tuned: String| {
            let _ = writeln!(
                out,
                "<tr><th scope=\"row\">{name}</th><td class=\"number\">{base}</td><td class=\"number\">{tuned}</td></tr>"
            );
        };
        row("loss", format!("{base:.4}"), format!("{tuned:.4}"));
        if self.likelihood {
            row("perplexity", format!("{:.2}", base.exp()), format!("{:.2}", tuned.exp()));
        }
        if !self.samples.is_empty() {
            let right = |answer: &dyn Fn(&Sample) -> &str| {
                let right =
                    self.samples.iter().filter(|sample| answer(sample).trim() == sample.expected.trim()).count();
                format!("{right} of {}", self.samples.len())
            };
            row("samples word for word", right(&|sample| &sample.base), right(&|sample| &sample.tuned));
        }
        out.push_str("</table>\n");
        for sample in &self.samples {
            let _ = write!(
                out,
                "<div class=\"sample\"><div class=\"dim\">prompt</div><pre dir=\"auto\">{}</pre><div class=\"answers\">",
                escape(&sample.prompt)
            );
            for (name, text) in [("expected", &sample.expected), ("base", &sample.base), ("tuned", &sample.tuned)] {
                let _ =
                    write!(out, "<div><div class=\"dim\">{name}</div><pre dir=\"auto\">{}</pre></div>", escape(text));
            }
            out.push_str("</div></div>\n");
        }
    }
}

/// The mean of each point with those before it, the nearer the heavier, without a bias towards the first.
fn evened(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let keep = 0.9;
    let (mut sum, mut weight) = (0.0, 0.0);
    let even = |(step, value): &(f64, f64)| {
        if value.is_finite() {
            (sum, weight) = (keep * sum + value, keep * weight + 1.0);
        }
        (*step, sum / f64::max(weight, f64::MIN_POSITIVE))
    };
    points.iter().map(even).collect()
}

struct Chart<'a> {
    name: &'a str,
    steps: usize,
    /// By line its classes and its points: step and value.
    lines: &'a [(&'a str, &'a [(f64, f64)])],
    /// Points that are marked.
    points: &'a [(f64, f64)],
}

/// Size of a chart, and the room for its numbers.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 62.0;
const BELOW: f64 = 24.0;
const ABOVE: f64 = 8.0;
/// Most points of a line; more are gathered into their means.
const MOST: usize = 720;

impl Chart<'_> {
    fn svg(&self) -> String {
        let finite = || self.lines.iter().flat_map(|(_, points)| points.iter()).filter(|(_, value)| value.is_finite());
        let (low, high) = finite()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (_, value)| (low.min(*value), high.max(*value)));
        if low > high {
            return "<p class=\"dim\">no steps</p>\n".into();
        }
        let ticks = ticks(low.min(0.0), high);
        let (low, high) =
            (ticks.first().copied().unwrap_or(0.0).min(low), ticks.last().copied().unwrap_or(1.0).max(high));
        let span = if high > low { high - low } else { 1.0 };
        let x = |step: f64| LEFT + (WIDTH - LEFT - 8.0) * step / (self.steps.max(1) as f64);
        let y = |value: f64| ABOVE + (HEIGHT - ABOVE - BELOW) * (1.0 - (value - low) / span);
        let mut out =
            format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n", escape(self.name));
        for tick in &ticks {
            let at = y(*tick);
            let _ = writeln!(
                out,
                "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text x=\"{:.1}\" \
                 y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 6.0,
                at + 4.0,
                number(*tick)
            );
        }
        for part in 0..=4usize {
            let step = self.steps * part / 4;
            let _ = writeln!(
                out,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{step}</text>",
                x(step as f64).min(WIDTH - 14.0),
                HEIGHT - 6.0
            );
        }
        for (class, points) in self.lines {
            let points: Vec<(f64, f64)> = points.iter().copied().filter(|(_, value)| value.is_finite()).collect();
            let each = points.len().div_ceil(MOST).max(1);
            let mut path = String::new();
            for chunk in points.chunks(each) {
                let count = chunk.len() as f64;
                let (step, value) = chunk.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
                let _ = write!(path, "{:.1},{:.1} ", x(step / count), y(value / count));
            }
            let _ = writeln!(out, "<polyline class=\"{class}\" points=\"{}\"/>", path.trim_end());
        }
        for (step, value) in self.points.iter().filter(|(_, value)| value.is_finite()) {
            let _ = writeln!(out, "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"/>", x(*step), y(*value));
        }
        out.push_str("</svg>\n");
        out
    }
}

/// Round numbers that reach over a range: 1, 2 or 5 times a power of ten apart, four to eight of them.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let span = if high > low { high - low } else { high.abs().max(1e-9) };
    let power = 10f64.powf((span / 5.0).log10().floor());
    let apart = [1.0, 2.0, 5.0, 10.0].into_iter().map(|times| times * power).find(|apart| span / apart <= 6.0);
    let apart = apart.unwrap_or(10.0 * power);
    let (first, last) = ((low / apart).floor() as i64, (high / apart).ceil() as i64);
    (first..=last).take(16).map(|tick| tick as f64 * apart).collect()
}

/// A number in few characters: `0.5`, `2e-4`.
pub fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if (0.01..10_000.0).contains(&size) => {
            let text = format!("{value:.3}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        _ => {
            let text = format!("{value:.1e}");
            text.replace(".0e", "e")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_a_model_says_is_markup() {
        let hostile = "</pre><script>alert('1')</script>&\"\u{202e}\u{0}";
        let sample =
            Sample { prompt: hostile.into(), expected: hostile.into(), base: hostile.into(), tuned: hostile.into() };
        let page = Page {
            model: hostile.into(),
            facts: vec![(hostile.into(), hostile.into())],
            losses: vec![2.0, f64::NAN, 1.0],
            validation: vec![(0, 2.5), (3, 1.5)],
            kept: Some((3, 1.5)),
            likelihood: true,
            rates: vec![0.0, 2e-4, 1e-4],
            samples: vec![sample],
        };
        let html = page.html();
        assert_eq!(html.matches("<script").count() + html.matches("</script").count(), 0, "{html}");
        assert!(html.contains("&lt;script&gt;alert(&#39;1&#39;)") && !html.contains(['\u{202e}', '\u{0}']));
        assert_eq!(html.matches("<pre").count(), html.matches("</pre").count());
        assert!(!html.contains("NaN") && !html.contains("http:") && !html.contains("https:"));
        assert!(html.contains("0 of 1") || html.contains("1 of 1"));
        assert!(Page::default().html().contains("no steps"));
    }

    #[test]
    fn ticks_are_round_and_reach_over_the_range() {
        let check = |low: f64, high: f64, expected: &[&str]| {
            let found: Vec<String> = ticks(low, high).into_iter().map(number).collect();
            assert_eq!(found, expected, "{low} {high}");
        };
        check(0.0, 2.7, &["0", "0.5", "1", "1.5", "2", "2.5", "3"]);
        check(0.0, 2e-4, &["0", "5e-5", "1e-4", "1.5e-4", "2e-4"]);
        check(0.0, 11.0, &["0", "2", "4", "6", "8", "10", "12"]);
        check(0.0, 0.0, &["0"]);
    }
}
