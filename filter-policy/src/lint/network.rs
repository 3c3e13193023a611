//! Conditions on ports and transports that the filter does not look at.

use super::Linter;
use crate::{language::diagnostics::Code, model::Test};

impl Linter<'_> {
    pub(super) fn ports(&mut self) {
        for (condition, written) in self.conditions() {
            if condition.negated {
                continue;
            }
            if let Test::Port(ports) = &condition.test {
                for (port, value) in ports.iter().zip(&written.values.value) {
                    if !self.policy.ports.iter().any(|(known, _)| known == port) {
                        let message = format!("port {port} is not a signalling port: it is not filtered");
                        self.warn(Code::PortNotConfigured, &value.span, message, "add it to `[network]`");
                    }
                }
            }
            if let Test::Transport(transports) = &condition.test {
                for (transport, value) in transports.iter().zip(&written.values.value) {
                    if !self.policy.ports.iter().any(|(_, known)| known == transport) {
                        let message = format!("no signalling port uses `{}`", transport.name());
                        self.warn(Code::PortNotConfigured, &value.span, message, "add one to `[network]`");
                    }
                }
            }
        }
    }
}
