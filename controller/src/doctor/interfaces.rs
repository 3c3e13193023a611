//! The checks of an interface.

use super::Finding;
use crate::kernel::{Error, Feature, InterfaceFacts, Mode, ModeChoice, Occupant};

/// Drivers that run XDP programs, by the names that they report, for kernels before 6.3, which do not say it themselves.
const NATIVE_DRIVERS: &[&str] = &[
    "bnxt_en",
    "bonding",
    "ena",
    "fsl_dpaa2_eth",
    "hv_netvsc",
    "i40e",
    "ice",
    "igb",
    "igc",
    "ixgbe",
    "ixgbevf",
    "mana",
    "mlx4_en",
    "mlx5_core",
    "mvneta",
    "mvpp2",
    "nfp",
    "qede",
    "sfc",
    "st_gmac",
    "tun",
    "veth",
    "vif",
    "virtio_net",
];

/// The largest packet that fits into a page with the room that drivers need before and after it, roughly.
const PAGE_MTU: u32 = 3_400;

/// Judges an interface: `wanted` is the mode that the configuration asks for, `cpus` how many there are.
pub(super) fn all(name: &str, wanted: ModeChoice, facts: &Result<InterfaceFacts, Error>, cpus: u64) -> Vec<Finding> {
    let facts = match facts {
        Ok(facts) => facts,
        Err(error) => {
            let fix = error.help().unwrap_or_else(|| "`ip -brief link` lists the interfaces".to_owned());
            return vec![Finding::fail("interface", error.to_string(), fix).on(name)];
        }
    };
    let mut findings = vec![link(name, facts)];
    if facts.not_ethernet.is_none() {
        findings.push(mode(name, wanted, facts));
        findings.extend(facts.mtu.map(|mtu| packet_size(name, mtu, facts)));
        findings.push(offload(name, wanted, "lro", "lro", "large receive offload", facts.lro));
        findings.push(offload(name, wanted, "gro", "rx-gro-hw", "GRO in hardware", facts.gro_hw));
        findings.extend(channels(name, facts, cpus));
        findings.extend(spread(name, facts));
        findings.push(program(facts.program.as_ref()));
    }
    findings.into_iter().map(|finding| finding.on(name)).collect()
}

/// Whether it is Ethernet, and up.
fn link(name: &str, facts: &InterfaceFacts) -> Finding {
    if let Some(link_type) = &facts.not_ethernet {
        let error = Error::NotEthernet { interface: name.to_owned(), link_type: link_type.clone() };
        let fix = error.help().unwrap_or_default();
        return Finding::fail("link", error.to_string(), fix);
    }
    let peer = match facts.peer {
        Some(peer) if peer.elsewhere => {
            format!("; its packets come from its peer, interface {} of another network namespace", peer.index)
        }
        Some(peer) => format!("; its packets come from its peer, interface {}", peer.index),
        None => String::new(),
    };
    if facts.up {
        Finding::ok("link", format!("Ethernet, up{peer}"))
    } else {
        Finding::warn("link", format!("Ethernet, down{peer}"), format!("`ip link set dev {name} up`"))
    }
}

/// Whether the driver runs XDP programs.
fn mode(name: &str, wanted: ModeChoice, facts: &InterfaceFacts) -> Finding {
    let driver = facts.driver.as_deref().unwrap_or("unknown");
    let (native, source) = match facts.xdp {
        Some(xdp) => (xdp.native, "as the kernel reports"),
        None => (NATIVE_DRIVERS.contains(&driver), "by a list, as this kernel does not report it"),
    };
    match (native, wanted) {
        (true, ModeChoice::Generic) => Finding::warn(
            "xdp",
            format!(
                "driver {driver}: native mode is possible ({source}), but generic mode is configured, which costs more"
            ),
            "remove `mode = \"generic\"` of this interface from the configuration",
        ),
        (true, _) => Finding::ok("xdp", format!("driver {driver}: native mode ({source})")),
        (false, ModeChoice::Generic) => Finding::ok("xdp", format!("driver {driver}: generic mode, as configured")),
        (false, ModeChoice::Native) => Finding::fail(
            "xdp",
            format!("driver {driver} does not run XDP programs ({source}), and native mode is configured"),
            format!("`ringfence run --interface {name} --mode generic`, or `mode = \"generic\"` in the configuration"),
        ),
        (false, ModeChoice::Auto) => Finding::warn(
            "xdp",
            format!(
                "driver {driver} does not run XDP programs ({source}): generic mode works, but each packet is copied into a buffer first"
            ),
            format!("`ethtool --driver {name}` shows driver and version: a newer kernel or another card may run them"),
        ),
    }
}

fn packet_size(name: &str, mtu: u32, facts: &InterfaceFacts) -> Finding {
    // (The program itself can read packets in several buffers.)
    if mtu > PAGE_MTU && facts.xdp.is_some_and(|xdp| xdp.native && !xdp.fragments) {
        return Finding::warn(
            "mtu",
            format!("{mtu}: the driver runs XDP programs only on packets that fit into one page"),
            format!("`ip link set dev {name} mtu 1500`"),
        );
    }
    Finding::ok("mtu", mtu.to_string())
}

/// A feature that makes the card hand over several packets as one, which drivers refuse together with XDP programs.
fn offload(
    name: &str,
    wanted: ModeChoice,
    check: &'static str,
    option: &str,
    what: &str,
    feature: Option<Feature>,
) -> Finding {
    match feature {
        None => Finding::ok(check, format!("the kernel does not say whether {what} is on")),
        Some(feature) if !feature.on => Finding::ok(check, format!("{what} is off")),
        Some(_) if wanted == ModeChoice::Generic => {
            Finding::ok(check, format!("{what} is on, which does not matter in generic mode"))
        }
        Some(feature) if feature.changeable => Finding::warn(
            check,
            format!("{what} is on: most drivers then refuse native mode"),
            format!("`ethtool --features {name} {option} off`"),
        ),
        Some(_) => Finding::warn(
            check,
            format!("{what} is on and cannot be turned off here: the driver may refuse native mode"),
            "turn it off on the machine that hosts this one (QEMU: `guest_tso4=off,guest_tso6=off`), or `ringfence run --mode generic`",
        ),
    }
}

/// Whether each processor can receive.
fn channels(name: &str, facts: &InterfaceFacts, cpus: u64) -> Option<Finding> {
    let channels = facts.channels.filter(|channels| channels.count > 0)?;
    let found = format!("{} for {cpus} CPUs", channels.count);
    let possible = channels.most.min(cpus);
    Some(if channels.count < possible {
        let kind = if channels.combined { "combined" } else { "rx" };
        let found = format!("{found}: the others receive nothing");
        Finding::warn("channels", found, format!("`ethtool --set-channels {name} {kind} {possible}`"))
    } else {
        Finding::ok("channels", found)
    })
}

/// Whether the packets of one trunk, which has few addresses, are received by several processors.
fn spread(name: &str, facts: &InterfaceFacts) -> Option<Finding> {
    if facts.channels.is_none_or(|channels| channels.count < 2) {
        return None;
    }
    Some(match facts.spread_by_ports? {
        true => Finding::ok("rss", "UDP packets are spread over the channels by addresses and ports"),
        false => Finding::warn(
            "rss",
            "UDP packets are spread over the channels by addresses alone: one CPU gets all packets of a trunk",
            format!("`ethtool --config-nfc {name} rx-flow-hash udp4 sdfn`"),
        ),
    })
}

/// Whether another XDP program is there.
fn program(occupant: Option<&Occupant>) -> Finding {
    let Some(occupant) = occupant else { return Finding::ok("program", "no XDP program") };
    let mode = occupant.mode.map_or("mixed", Mode::name);
    let what = format!("id {}, name {}, {mode} mode", occupant.id, occupant.name);
    if occupant.own {
        return Finding::ok("program", format!("this filter: {what}"));
    }
    let owners = match &*occupant.owners {
        [] => String::new(),
        owners => format!(", held by {}", owners.join(", ")),
    };
    let found = format!("another XDP program: {what}{owners}; two of them cannot share an interface");
    Finding::fail("program", found, format!("`{}` detaches it", occupant.off))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        doctor::Level,
        kernel::{Channels, Peer, XdpFeatures},
    };

    /// The worst level of some findings.
    fn worst(findings: &[Finding]) -> Level {
        findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok)
    }

    fn card() -> InterfaceFacts {
        InterfaceFacts {
            up: true,
            not_ethernet: None,
            mtu: Some(1500),
            driver: Some("ixgbe".to_owned()),
            peer: None,
            xdp: Some(XdpFeatures { native: true, fragments: false }),
            lro: Some(Feature { on: false, changeable: true }),
            gro_hw: Some(Feature { on: false, changeable: false }),
            channels: Some(Channels { count: 8, most: 64, combined: true }),
            spread_by_ports: Some(true),
            program: None,
        }
    }

    fn judged(facts: InterfaceFacts, wanted: ModeChoice) -> Vec<Finding> {
        all("eth0", wanted, &Ok(facts), 8)
    }

    /// The only finding that is not ok.
    fn complaint(facts: InterfaceFacts, wanted: ModeChoice) -> Finding {
        let findings = judged(facts, wanted);
        let mut bad: Vec<Finding> = findings.into_iter().filter(|finding| finding.level != Level::Ok).collect();
        assert_eq!(bad.len(), 1, "{bad:?}");
        let finding = bad.remove(0);
        assert_eq!(finding.interface.as_deref(), Some("eth0"));
        finding
    }

    fn has(finding: &Finding, check: &str, level: Level, fix: &str) {
        assert_eq!((finding.check, finding.level), (check, level), "{finding:?}");
        assert!(finding.fix.as_deref().is_some_and(|text| text.contains(fix)), "{fix}: {finding:?}");
    }

    #[test]
    fn a_card_as_it_should_be_has_no_complaint() {
        assert_eq!(worst(&judged(card(), ModeChoice::Auto)), Level::Ok);
        let old = InterfaceFacts { xdp: None, ..card() };
        assert_eq!(worst(&judged(old, ModeChoice::Native)), Level::Ok, "known by its driver");
    }

    #[test]
    fn a_missing_interface_is_a_failure() {
        let findings = all("eth0", ModeChoice::Auto, &Err(Error::UnknownInterface("eth0".to_owned())), 8);
        assert_eq!(findings.len(), 1);
        has(&findings[0], "interface", Level::Fail, "`ip -brief link`");
    }

    #[test]
    fn a_tunnel_is_not_judged_further() {
        let findings =
            judged(InterfaceFacts { not_ethernet: Some("wireguard".to_owned()), ..card() }, ModeChoice::Auto);
        assert_eq!(findings.len(), 1);
        has(&findings[0], "link", Level::Fail, "ip -brief link");
    }

    #[test]
    fn an_interface_that_is_down_is_set_up() {
        has(
            &complaint(InterfaceFacts { up: false, ..card() }, ModeChoice::Auto),
            "link",
            Level::Warn,
            "`ip link set dev eth0 up`",
        );
    }

    #[test]
    fn a_driver_without_xdp_costs_and_fails_where_native_mode_is_asked_for() {
        let without = || InterfaceFacts {
            xdp: Some(XdpFeatures { native: false, fragments: false }),
            driver: Some("e1000e".to_owned()),
            ..card()
        };
        has(&complaint(without(), ModeChoice::Auto), "xdp", Level::Warn, "`ethtool --driver eth0`");
        has(&complaint(without(), ModeChoice::Native), "xdp", Level::Fail, "--mode generic");
        assert_eq!(worst(&judged(without(), ModeChoice::Generic)), Level::Ok);
        let old = InterfaceFacts { xdp: None, ..without() };
        has(&complaint(old, ModeChoice::Native), "xdp", Level::Fail, "--mode generic");
        has(&complaint(card(), ModeChoice::Generic), "xdp", Level::Warn, "remove `mode = \"generic\"`");
    }

    #[test]
    fn large_packets_need_a_driver_that_reads_several_buffers() {
        let large = InterfaceFacts { mtu: Some(9000), ..card() };
        has(&complaint(large.clone(), ModeChoice::Auto), "mtu", Level::Warn, "`ip link set dev eth0 mtu 1500`");
        let able = InterfaceFacts { xdp: Some(XdpFeatures { native: true, fragments: true }), ..large };
        assert_eq!(worst(&judged(able, ModeChoice::Auto)), Level::Ok);
    }

    #[test]
    fn receive_offloads_are_turned_off_where_that_is_possible() {
        let on = |changeable| Some(Feature { on: true, changeable });
        let lro = InterfaceFacts { lro: on(true), ..card() };
        has(&complaint(lro.clone(), ModeChoice::Auto), "lro", Level::Warn, "`ethtool --features eth0 lro off`");
        let gro = InterfaceFacts { gro_hw: on(true), ..card() };
        has(&complaint(gro, ModeChoice::Auto), "gro", Level::Warn, "`ethtool --features eth0 rx-gro-hw off`");
        let fixed = InterfaceFacts { gro_hw: on(false), ..card() };
        has(&complaint(fixed, ModeChoice::Auto), "gro", Level::Warn, "--mode generic");
        let without = InterfaceFacts { xdp: Some(XdpFeatures { native: false, fragments: false }), ..lro };
        assert_eq!(worst(&judged(without, ModeChoice::Generic)), Level::Ok);
    }

    #[test]
    fn a_channel_for_each_cpu_if_the_card_has_as_many() {
        let channels =
            |count, most, combined| InterfaceFacts { channels: Some(Channels { count, most, combined }), ..card() };
        let few = complaint(channels(2, 16, true), ModeChoice::Auto);
        has(&few, "channels", Level::Warn, "`ethtool --set-channels eth0 combined 8`");
        let few = complaint(channels(2, 4, false), ModeChoice::Auto);
        has(&few, "channels", Level::Warn, "`ethtool --set-channels eth0 rx 4`");
        assert_eq!(worst(&judged(channels(1, 1, true), ModeChoice::Auto)), Level::Ok, "the card has no more");
    }

    #[test]
    fn packets_are_spread_by_ports() {
        let by_addresses = InterfaceFacts { spread_by_ports: Some(false), ..card() };
        has(&complaint(by_addresses.clone(), ModeChoice::Auto), "rss", Level::Warn, "rx-flow-hash udp4 sdfn");
        let one = InterfaceFacts { channels: Some(Channels { count: 1, most: 1, combined: true }), ..by_addresses };
        assert_eq!(worst(&judged(one, ModeChoice::Auto)), Level::Ok, "nothing to spread over");
    }

    #[test]
    fn another_program_is_named_with_its_owner_and_the_command_that_detaches_it() {
        let occupant = Occupant {
            id: 7,
            name: "xdp_lb".to_owned(),
            mode: Some(Mode::Native),
            own: false,
            owners: vec!["katran (process 12)".to_owned()],
            off: "ip link set dev eth0 xdp off".to_owned(),
        };
        let taken = InterfaceFacts { program: Some(occupant.clone()), ..card() };
        let found = complaint(taken, ModeChoice::Auto);
        has(&found, "program", Level::Fail, "`ip link set dev eth0 xdp off`");
        assert!(found.found.contains("id 7, name xdp_lb, native mode, held by katran (process 12)"), "{}", found.found);
        let own = InterfaceFacts { program: Some(Occupant { own: true, ..occupant }), ..card() };
        assert_eq!(worst(&judged(own, ModeChoice::Auto)), Level::Ok);
    }

    #[test]
    fn a_veth_names_its_peer() {
        let veth = InterfaceFacts { peer: Some(Peer { index: 9, elsewhere: true }), ..card() };
        let findings = judged(veth, ModeChoice::Auto);
        assert!(findings[0].found.ends_with("its peer, interface 9 of another network namespace"), "{findings:?}");
    }
}
