//! The options that choose packet events.

use clap::builder::PossibleValuesParser;
use filter_core::reason::Reason;

use crate::telemetry::{EventFilter, MODES, NumberPrefix, RuleMode, Source, VERDICTS, mode};

/// Which packets. Several values of one option are alternatives; a packet must satisfy every option that is given.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Which packets")]
pub struct FilterArgs {
    /// Only of this rule; may be given several times, as the other filters
    #[arg(long = "rule", value_name = "NAME")]
    pub rules: Vec<String>,
    /// Only from this address or network
    #[arg(long = "source", value_name = "ADDR|CIDR")]
    pub sources: Vec<Source>,
    /// Only with a number (calling, called, of From, asserted, forwarding) that begins with these digits, with or without a plus
    #[arg(long = "number", value_name = "PREFIX", allow_hyphen_values = true)]
    pub numbers: Vec<NumberPrefix>,
    /// Only with this verdict: what happened, or in report mode would have happened
    #[arg(long = "verdict", value_name = "VERDICT", value_parser = PossibleValuesParser::new(VERDICTS))]
    pub verdicts: Vec<String>,
    /// Only what was done (enforce), or only what would have been (report)
    #[arg(long = "mode", value_name = "MODE", value_parser = modes())]
    pub modes: Vec<RuleMode>,
    /// Only for this reason, such as rule-drop or banned
    #[arg(long = "reason", value_name = "REASON", value_parser = reasons(), hide_possible_values = true)]
    pub reasons: Vec<Reason>,
    /// Only from this upstream: its name in the policy, or the label of the address set that the source is in
    #[arg(long = "upstream", value_name = "NAME")]
    pub upstreams: Vec<String>,
}

impl FilterArgs {
    /// The filter.
    #[must_use]
    pub fn filter(self) -> EventFilter {
        let Self { rules, sources, numbers, verdicts, modes, reasons, upstreams } = self;
        EventFilter { rules, sources, numbers, verdicts, modes, reasons, upstreams }
    }
}

fn modes() -> impl clap::builder::TypedValueParser<Value = RuleMode> {
    use clap::builder::TypedValueParser as _;
    PossibleValuesParser::new(MODES).map(|name| mode(&name))
}

fn reasons() -> impl clap::builder::TypedValueParser<Value = Reason> {
    use clap::builder::TypedValueParser as _;
    // Its values are the names of all reasons.
    PossibleValuesParser::new(Reason::NAMES).try_map(|name| Reason::from_name(&name).ok_or("there is no such reason"))
}
