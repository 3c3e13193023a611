//! Sets that nothing uses.

use super::Linter;
use crate::language::diagnostics::Code;

impl Linter<'_> {
    pub(super) fn unused_sets(&mut self, unused: &[usize]) {
        for &set in unused {
            let name = &self.source.sets[set].name;
            let message = format!("the set `{}` is not used", name.value);
            let help = format!("use it in a rule as \"@{}\", or remove it", name.value);
            self.warn(Code::UnusedSet, &name.span, message, &help);
        }
    }
}
