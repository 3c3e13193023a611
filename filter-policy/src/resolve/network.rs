//! `[network]`: the signalling ports.

use filter_core::{layout::Transport, limits::MAX_PORTS};

use super::Resolver;
use crate::language::{diagnostics::Code, source::Source};

impl Resolver<'_> {
    pub(super) fn ports(&mut self, source: &Source) -> Vec<(u16, Transport)> {
        const SIP: u16 = 5060;
        let Some(network) = &source.network else { return vec![(SIP, Transport::Udp), (SIP, Transport::Tcp)] };
        let mut ports: Vec<(u16, Transport)> = Vec::new();
        let listed = [(&network.udp, Transport::Udp), (&network.tcp, Transport::Tcp), (&network.tls, Transport::Tls)];
        let mut count = 0;
        for (values, transport) in listed {
            for value in values {
                count += 1;
                let Some(port) = u16::try_from(value.value).ok().filter(|port| *port != 0) else {
                    let message = format!("{} is not a port", value.value);
                    self.error(Code::BadValue, &value.span, message, Some("ports are 1 to 65535".into()));
                    continue;
                };
                let is_same = |(other, of): &(u16, Transport)| {
                    *other == port && (*of == Transport::Udp) == (transport == Transport::Udp)
                };
                if let Some((_, of)) = ports.iter().find(|entry| is_same(entry)) {
                    let help = if transport == Transport::Udp {
                        "remove one of the two".to_owned()
                    } else {
                        format!("remove it here or there: TCP port {port} is either encrypted or not")
                    };
                    let message = format!("port {port} is already listed in `{}`", of.name());
                    self.error(Code::DuplicatePort, &value.span, message, Some(help));
                    continue;
                }
                ports.push((port, transport));
                if count == MAX_PORTS + 1 {
                    let help = format!("the filter holds {MAX_PORTS}: remove those that no SIP server listens on");
                    self.error(Code::TooManyPorts, &value.span, "too many signalling ports", Some(help));
                }
            }
        }
        if count == 0 && !network.incomplete && !source.incomplete {
            let help = Some("list the ports that the SIP servers listen on, such as `udp = [5060]`".to_owned());
            let message = "`[network]` has no ports: nothing would be filtered";
            self.error(Code::NoPorts, &network.span, message, help);
        }
        ports.sort_by_key(|(port, transport)| (*port, *transport));
        ports
    }
}
