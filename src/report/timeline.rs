//! Times and costs as coordinates of a picture: 1000 units wide, whatever the run took.

use serde::Serialize;

use super::story::{Step, StepKind};

const WIDTH: f64 = 1000.0;
/// Bars that are nearer than this are one.
const NEAR: f64 = 0.5;
/// A bar is at least so wide, to be seen.
const NARROWEST: f64 = 1.0;
/// Points of a curve.
const MOST_POINTS: usize = 200;
/// The height of a curve.
const HEIGHT: f64 = 100.0;

/// What took the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Lane {
    /// The LLM.
    Llm,
    /// A tool.
    Tool,
    /// A tool that went wrong, or another error.
    Failed,
}

/// A time in which one of them worked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Bar {
    pub(crate) lane: Lane,
    pub(crate) x: f64,
    pub(crate) width: f64,
}

/// The steps of a run to scale. What no bar covers is waiting.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Timeline {
    pub(crate) bars: Vec<Bar>,
}

impl Timeline {
    /// Builds the timeline of these steps, in a run of this many seconds.
    pub(crate) fn new(steps: &[Step], seconds: f64) -> Self {
        let mut bars: Vec<Bar> = Vec::new();
        if seconds <= 0.0 {
            return Self { bars };
        }
        let scale = WIDTH / seconds;
        let mut add = |lane: Lane, from: f64, took: f64| {
            let x = (from * scale).clamp(0.0, WIDTH - NARROWEST);
            let width = (took * scale).clamp(NARROWEST, WIDTH - x);
            let before = bars.iter_mut().rev().take(3).find(|bar| bar.lane == lane);
            match before {
                Some(bar) if x - (bar.x + bar.width) < NEAR => bar.width = bar.width.max(x + width - bar.x),
                _ => bars.push(Bar { lane, x, width }),
            }
        };
        for step in steps {
            let Some(at) = step.at else { continue };
            if let Some(llm) = step.llm {
                add(Lane::Llm, at - llm, llm);
            }
            match (step.failed, step.kind) {
                (true, _) => add(Lane::Failed, at, step.tool_seconds.unwrap_or_default()),
                (false, StepKind::Tool) => add(Lane::Tool, at, step.tool_seconds.unwrap_or_default()),
                _ => {}
            }
        }
        Self { bars }
    }
}

/// Cost and tokens over time, as the points of two curves.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Costs {
    /// `x,y` of each point; empty where nothing is known.
    pub(crate) cost: String,
    /// The same of the tokens.
    pub(crate) tokens: String,
    /// US dollars at the end.
    pub(crate) last_cost: f64,
    /// Tokens at the end.
    pub(crate) last_tokens: u64,
}

impl Costs {
    /// Builds the curve of these seconds, dollars and tokens, in a run of this many seconds.
    pub(crate) fn new(points: &[(f64, f64, u64)], seconds: f64) -> Self {
        let (last_cost, last_tokens) = points.last().map_or((0.0, 0), |(_, cost, tokens)| (*cost, *tokens));
        let every = points.len().div_ceil(MOST_POINTS).max(1);
        let kept = points.iter().rev().step_by(every).collect::<Vec<_>>().into_iter().rev();
        let x = |at: f64| if seconds > 0.0 { at / seconds * WIDTH } else { WIDTH };
        let y = |part: f64| HEIGHT - part.clamp(0.0, 1.0) * HEIGHT;
        #[expect(clippy::cast_precision_loss, reason = "a picture has fewer points than a float has numbers")]
        let of_tokens = |tokens: u64| if last_tokens > 0 { tokens as f64 / last_tokens as f64 } else { 0.0 };
        let of_cost = |cost: f64| if last_cost > 0.0 { cost / last_cost } else { 0.0 };
        let curve = |part: &dyn Fn(&(f64, f64, u64)) -> f64| {
            let points: Vec<String> =
                kept.clone().map(|point| format!("{:.1},{:.1}", x(point.0), y(part(point)))).collect();
            if points.is_empty() { String::new() } else { format!("0,{HEIGHT} {}", points.join(" ")) }
        };
        Self {
            cost: curve(&|point| of_cost(point.1)),
            tokens: curve(&|point| of_tokens(point.2)),
            last_cost,
            last_tokens,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_points_become_a_short_curve_with_the_last_one() {
        let points: Vec<(f64, f64, u64)> =
            (1..=10_000_u32).map(|number| (number.into(), f64::from(number) / 100.0, number.into())).collect();
        let costs = Costs::new(&points, 10_000.0);
        assert!(costs.cost.split(' ').count() <= MOST_POINTS + 1);
        assert!(costs.cost.starts_with("0,100 ") && costs.cost.ends_with("1000.0,0.0"), "{}", costs.cost);
        assert_eq!((costs.last_cost, costs.last_tokens), (100.0, 10_000));
        assert_eq!(Costs::new(&[], 0.0).cost, "");
    }
}
