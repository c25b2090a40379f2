//! Losses over whole answers: what is better said, instead of what to say.
//!
//! Each is a function of the log-probabilities of answers (sums over their tokens). A loss's gradient by such a sum is a
//! weight of the cross-entropy of the answer's tokens, so that the Plan needs no other loss than it has: answers run forwards
//! once, the loss says what each weighs, and they run forwards and backwards with these weights.

/// What is minimised.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Loss {
    /// Cross-entropy of the tokens that are learned.
    #[default]
    Tokens,
    /// Direct preference optimisation (Rafailov et al. 2023) of pairs against the model as it was before.
    Dpo {
        /// How much leaving the reference costs.
        beta: f32,
        /// Share of pairs that are taken to be the wrong way round (conservative DPO).
        smoothing: f32,
    },
    /// Odds-ratio preference optimisation (Hong et al. 2024) of pairs, without a reference.
    Orpo {
        /// What the odds count beside the chosen answers' cross-entropy: λ of the paper.
        beta: f32,
    },
    /// Kahneman-Tversky optimisation (Ethayarajh et al. 2024) of single answers that are good or bad.
    Kto {
        /// How much leaving the reference costs.
        beta: f32,
        /// Weight of good answers.
        desirable: f32,
        /// Weight of bad ones.
        undesirable: f32,
    },
}

/// An answer's log-probability: the sum over its tokens, what it was under the reference, and how many tokens it has.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Answer {
    /// Under the model as it is now.
    pub log_probability: f64,
    /// Under the model as it was before.
    pub reference: f64,
    /// Tokens.
    pub tokens: usize,
}

impl Answer {
    /// How much likelier it has become.
    fn gain(&self) -> f64 {
        self.log_probability - self.reference
    }

    fn mean(&self) -> f64 {
        self.log_probability / self.tokens.max(1) as f64
    }
}

/// A loss, its gradient, and how often the better answer wins.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judged {
    /// The mean loss.
    pub loss: f64,
    /// By answer: the gradient by its log-probability.
    pub gradients: Vec<f64>,
    /// Share of pairs of which the chosen one is ahead (of answers: share on the right side).
    pub right: f64,
}

fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}

/// `log σ(x)`.
fn log_sigmoid(x: f64) -> f64 {
    x.min(0.0) - (-x.abs()).exp().ln_1p()
}

/// `log(1 - exp(x))` for a log-probability.
fn log_of_rest(x: f64) -> f64 {
    let x = x.min(-1e-12);
    if x > -std::f64::consts::LN_2 { (-x.exp_m1()).ln() } else { (-x.exp()).ln_1p() }
}

/// DPO of pairs `[chosen, rejected]`.
pub fn dpo(pairs: &[[Answer; 2]], beta: f32, smoothing: f32) -> Judged {
    let (beta, smoothing, count) = (f64::from(beta), f64::from(smoothing), pairs.len().max(1) as f64);
    let mut judged = Judged::default();
    for [chosen, rejected] in pairs {
        let margin = beta * (chosen.gain() - rejected.gain());
        judged.loss -= ((1.0 - smoothing) * log_sigmoid(margin) + smoothing * log_sigmoid(-margin)) / count;
        let slope = beta * (smoothing * sigmoid(margin) - (1.0 - smoothing) * sigmoid(-margin)) / count;
        judged.gradients.extend([slope, -slope]);
        judged.right += f64::from(u8::from(margin > 0.0)) / count;
    }
    judged
}

/// ORPO of pairs `[chosen, rejected]`: the mean cross-entropy of all chosen tokens, and the odds of answers by their mean
/// log-probability.
pub fn orpo(pairs: &[[Answer; 2]], beta: f32) -> Judged {
    let (beta, count) = (f64::from(beta), pairs.len().max(1) as f64);
    let tokens: usize = pairs.iter().map(|[chosen, _]| chosen.tokens).sum();
    let tokens = tokens.max(1) as f64;
    let mut judged = Judged::default();
    for [chosen, rejected] in pairs {
        let (better, worse) = (chosen.mean(), rejected.mean());
        let odds = (better - worse) - (log_of_rest(better) - log_of_rest(worse));
        judged.loss -= chosen.log_probability / tokens + beta * log_sigmoid(odds) / count;
        let slope = beta * sigmoid(-odds) / count;
        let by = |answer: &Answer, mean: f64| 1.0 / (-mean.min(-1e-12).exp_m1()) / answer.tokens.max(1) as f64;
        judged.gradients.push(-slope * by(chosen, better) - 1.0 / tokens);
        judged.gradients.push(slope * by(rejected, worse));
        judged.right += f64::from(u8::from(odds > 0.0)) / count;
    }
    judged
}

/// KTO of answers and whether each is good. `elsewhere` are answers to other prompts than their own: how much likelier the
/// model has made them is how far it has gone from the reference on the whole.
pub fn kto(answers: &[(Answer, bool)], elsewhere: &[Answer], beta: f32, desirable: f32, undesirable: f32) -> Judged {
    let (beta, count) = (f64::from(beta), answers.len().max(1) as f64);
    let gone = elsewhere.iter().map(Answer::gain).sum::<f64>() / elsewhere.len().max(1) as f64;
    let gone = gone.max(0.0);
    let mut judged = Judged::default();
    for (answer, good) in answers {
        let (weight, sign) = if *good { (desirable, 1.0) } else { (undesirable, -1.0) };
        let weight = f64::from(weight);
        let ahead = sign * beta * (answer.gain() - gone);
        judged.loss += weight * sigmoid(-ahead) / count;
        judged.gradients.push(-weight * sign * beta * sigmoid(ahead) * sigmoid(-ahead) / count);
        judged.right += f64::from(u8::from(ahead > 0.0)) / count;
    }
    judged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(log: [f64; 3], before: [f64; 3], tokens: [usize; 3]) -> [Answer; 3] {
        std::array::from_fn(|n| Answer { log_probability: log[n], reference: before[n], tokens: tokens[n] })
    }

    /// By PyTorch's autograd (tools/goldens/preference_losses.py).
    #[test]
    fn losses_and_gradients_are_those_of_autograd() {
        let chosen = answers([-3.5, -20.0, -1.25], [-4.5, -18.0, -1.0], [4, 9, 2]);
        let rejected = answers([-4.0, -12.0, -30.0], [-3.0, -13.5, -28.0], [3, 7, 11]);
        let pairs: Vec<[Answer; 2]> = chosen.into_iter().zip(rejected).map(Into::into).collect();
        let single: Vec<(Answer, bool)> =
            chosen.map(|a| (a, true)).into_iter().chain(rejected.map(|a| (a, false))).collect();
        let elsewhere = |gains: [f64; 2]| gains.map(|gain| Answer { log_probability: gain, ..Answer::default() });
        let check = |name: &str, judged: Judged, loss: f64, chosen: [f64; 3], rejected: [f64; 3], paired: bool| {
            assert!((judged.loss - loss).abs() < 1e-8, "{name}: {} against {loss}", judged.loss);
            for n in 0..3 {
                let (c, r) = if paired { (2 * n, 2 * n + 1) } else { (n, 3 + n) };
                for (at, expected) in [(c, chosen[n]), (r, rejected[n])] {
                    assert!((judged.gradients[at] - expected).abs() < 1e-8, "{name}: {:?}", judged.gradients);
                }
            }
        };
        let d = [-0.035434369, -0.07407749, -0.037168381];
        check("dpo", dpo(&pairs, 0.3, 0.0), 0.750752728, d, d.map(|x: f64| -x), true);
        let d = [-0.025434369, -0.06407749, -0.027168381];
        check("cdpo", dpo(&pairs, 0.3, 0.1), 0.753252728, d, d.map(|x: f64| -x), true);
        let (c, r) = ([-0.076202944, -0.072014976, -0.070774677], [0.010068702, 0.007477934, 0.000371407]);
        check("orpo", orpo(&pairs, 0.2), 1.749808827, c, r, true);
        let (c, r) = ([-0.018723658, -0.015889441, -0.018334373], [0.005838374, 0.006171561, 0.00529648]);
        check("kto", kto(&single, &elsewhere([2.0, -0.5]), 0.3, 1.5, 0.5), 0.540449579, c, r, false);
        let (c, r) = ([-0.018334373, -0.017158818, -0.018723658], [0.006111458, 0.005943974, 0.005719606]);
        check("kto", kto(&single, &elsewhere([-2.0, -0.5]), 0.3, 1.5, 0.5), 0.513367119, c, r, false);
    }

    #[test]
    fn no_answer_makes_a_loss_that_is_no_number() {
        for log_probability in [0.0, -1e-300, -1e9] {
            let answer = Answer { log_probability, reference: 0.0, tokens: 1 };
            let all = [
                dpo(&[[answer, Answer::default()]], 0.1, 0.0),
                orpo(&[[answer, Answer::default()]], 0.1),
                kto(&[(answer, false)], &[], 0.1, 1.0, 1.0),
            ];
            assert!(all.iter().all(|judged| judged.loss.is_finite() && judged.gradients.iter().all(|g| g.is_finite())));
        }
    }
}
