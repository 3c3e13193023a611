//! The filter on real interfaces: adopted, replaced, refused, detached. Each test has its own network namespace.

use std::{
    fs::File,
    net::UdpSocket,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use filter_core::{layout::Method, reason::Reason};
use filter_policy::{bounds::Cancel, image::Image};
use ringfence::kernel::{
    self, Bans, Counts, Error, Filter, Instance, Interface, InterfaceCount, Mode, ModeChoice, Pins, Prefix, Ring, State,
};
use ringfence_hosts::policy;
use ringfence_tests::netns::{Wire, WireOptions};

const INTERFACE: &str = Wire::SERVER_INTERFACE;

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;

/// The number of instructions that the verifier may walk; kernels give up at a million.
const BUDGET: u32 = 250_000;

#[test]
fn an_instance_decides_by_its_policy_and_stays_within_the_verifiers_budget() -> Result<()> {
    let image = image(&[SCANNERS]);
    let instance = Instance::load(&image)?;
    assert_eq!(instance.run(&frame(&message("friendly-scanner")))?.action, XDP_DROP);
    assert_eq!(instance.run(&frame(&message("ordinary phone")))?.action, XDP_PASS);
    let verified = instance.verified_instructions()?.context("the kernel does not say how much it verified")?;
    println!("verified instructions: {verified}");
    assert!(verified < BUDGET, "{verified}");
    Ok(())
}

#[test]
fn the_filter_outlives_its_process_and_the_next_one_adopts_its_counters() -> Result<()> {
    let scene = Scene::new()?;
    let mut filter = Filter::open(scene.pins())?;
    assert!(!filter.is_attached()?);
    let installed =
        scene.inside(|| filter.install(&mut image(&[SCANNERS]), &interfaces(&[INTERFACE], ModeChoice::Auto), None))?;
    assert_eq!(installed.interfaces[0].mode, Mode::Native);
    drop(filter);
    assert_eq!(scene.send("friendly-scanner", 10)?, 0, "none of it arrives");
    assert_eq!(packets(&scene.pins(), "scanners")?, 10);

    let mut filter = Filter::open(scene.pins())?;
    assert!(filter.is_attached()?);
    let installed =
        scene.inside(|| filter.install(&mut image(&[SCANNERS]), &interfaces(&[INTERFACE], ModeChoice::Auto), None))?;
    assert_eq!(installed.generation, 2);
    assert_eq!(installed.interfaces[0].note, None, "the link is the existing one");
    assert_eq!(scene.send("friendly-scanner", 10)?, 0);
    assert_eq!(packets(&scene.pins(), "scanners")?, 20, "the probes before the swap are not counted");
    drop(filter);

    assert_eq!(kernel::detach(&scene.pins())?, [INTERFACE]);
    assert!(!scene.pins.exists());
    assert_eq!(scene.send("friendly-scanner", 10)?, 10, "the filter is gone");
    Ok(())
}

/// Sends scanners' messages, so many at a time, while the swaps are made. Returns how many arrived, and how many were sent.
fn under_traffic(scene: &Scene, batch: u64, swaps: impl FnOnce() -> Result<()>) -> Result<(u64, u64)> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let traffic = scope.spawn(|| -> Result<_> {
            let (mut arrived, mut sent) = (0, 0);
            while !done.load(Ordering::Relaxed) {
                arrived += scene.send("friendly-scanner", batch)?;
                sent += batch;
            }
            Ok((arrived, sent))
        });
        let swaps = swaps();
        done.store(true, Ordering::Relaxed);
        let traffic = traffic.join().expect("the sender panicked");
        swaps?;
        traffic
    })
}

#[test]
fn a_swap_under_traffic_lets_no_packet_through() -> Result<()> {
    let scene = Scene::new()?;
    let mut filter = Filter::open(scene.pins())?;
    let listed = interfaces(&[INTERFACE], ModeChoice::Auto);
    scene.inside(|| filter.install(&mut image(&[SCANNERS]), &listed, None))?;
    let (arrived, sent) = under_traffic(&scene, 200, || {
        (0..10).try_for_each(|round| -> Result<()> {
            let rules: &[&str] = if round % 2 == 0 { &[OTHERS, SCANNERS] } else { &[SCANNERS] };
            scene.inside(|| filter.install(&mut image(rules), &listed, None))?;
            Ok(())
        })
    })?;
    assert_eq!(arrived, 0, "of {sent} packets that both policies drop");
    assert_eq!(packets(&scene.pins(), "scanners")?, sent, "and each was counted, wherever the rule was in the file");
    assert_eq!(State::read(&scene.pins())?.context("no state")?.generation, 11);
    Ok(())
}

#[test]
fn in_200_swaps_between_opposite_policies_every_packet_is_judged_by_one_of_them() -> Result<()> {
    const SWAPS: u64 = 200;
    let scene = Scene::new()?;
    let mut filter = Filter::open(scene.pins())?;
    let listed = interfaces(&[INTERFACE], ModeChoice::Auto);
    // The same rule passes what it dropped before.
    let passes = SCANNERS.replace("action = \"drop\"", "action = \"whitelist\"");
    ensure!(passes != SCANNERS, "the rule drops");
    let policies = [SCANNERS, passes.as_str()];
    scene.inside(|| filter.install(&mut image(&policies[..1]), &listed, None))?;
    let link = scene.link()?;
    let (arrived, sent) = under_traffic(&scene, 100, || {
        (1..=SWAPS).try_for_each(|round| -> Result<()> {
            let rules = &policies[(round % 2) as usize..][..1];
            scene.inside(|| filter.install(&mut image(rules), &listed, None))?;
            ensure!(scene.link()? == link, "swap {round} made another link");
            Ok(())
        })
    })?;
    // What neither has judged would be missing here: it would have arrived without being counted.
    let counts = Counts::read(&scene.pins())?;
    let reason =
        |reason: Reason| counts.reasons.iter().find(|count| count.reason == reason).map_or(0, |count| count.packets);
    assert_eq!(packets(&scene.pins(), "scanners")?, sent, "the rule's counter goes on, whatever it does");
    assert_eq!(reason(Reason::RuleDrop) + reason(Reason::RuleWhitelist), sent, "of {sent}");
    assert_eq!(reason(Reason::RuleDrop), sent - arrived, "what did not arrive was dropped by the rule");
    assert!(arrived > 0 && arrived < sent, "both policies had packets to judge: {arrived} of {sent}");
    assert_eq!(State::read(&scene.pins())?.context("no state")?.generation, SWAPS + 1);
    Ok(())
}

#[test]
fn rules_go_on_and_off_by_the_clock_without_another_load() -> Result<()> {
    let scene = Scene::new()?;
    let mut filter = Filter::open(scene.pins())?;
    let hours = "hours = { days = \"mon-fri\", from = \"08:00\", to = \"18:00\", timezone = \"America/New_York\" }\n";
    // The second rule has none: it stays on.
    let mut image = image(&[&format!("{SCANNERS}{hours}"), OTHERS]);
    let installed = scene.inside(|| filter.install(&mut image, &interfaces(&[INTERFACE], ModeChoice::Auto), None))?;
    for (at, arrive) in [
        ("2026-11-27T12:59:59Z", 10),
        ("2026-11-27T13:00:00Z", 0),
        ("2026-11-27T22:59:00Z", 0),
        ("2026-11-27T23:00:00Z", 10),
        ("2026-11-28T15:00:00Z", 10),
        ("2026-11-30T13:00:00Z", 0),
    ] {
        filter.keep_time(at.parse()?)?;
        assert_eq!(scene.send("friendly-scanner", 10)?, arrive, "{at}");
        assert_eq!(scene.send("other-scanner", 10)?, 0, "{at}");
    }
    assert_eq!(packets(&scene.pins(), "scanners")?, 30);
    assert_eq!(State::read(&scene.pins())?.context("no state")?.generation, installed.generation);
    Ok(())
}

#[test]
fn a_rule_outside_its_hours_is_off_from_the_start() -> Result<()> {
    let scene = Scene::new()?;
    let mut filter = Filter::open(scene.pins())?;
    // The day that began this long ago anywhere on earth, and the one that has not begun anywhere.
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date().weekday().to_monday_zero_offset();
    let day = |days: i8| ["mon", "tue", "wed", "thu", "fri", "sat", "sun"][usize::from((today + days) as u8 % 7)];
    let hours = |day: &str| format!("hours = {{ days = \"{day}\", timezone = \"UTC\" }}\n");
    let listed = interfaces(&[INTERFACE], ModeChoice::Auto);
    let mut off = image(&[&format!("{SCANNERS}{}", hours(day(3)))]);
    scene.inside(|| filter.install(&mut off, &listed, None))?;
    assert_eq!(scene.send("friendly-scanner", 10)?, 10);
    let both = [day(0), day(1)].map(hours);
    let mut on = image(&[&format!("{SCANNERS}{}", both[0]), &format!("{OTHERS}{}", both[1])]);
    scene.inside(|| filter.install(&mut on, &listed, None))?;
    assert_eq!(scene.send("friendly-scanner", 10)? + scene.send("other-scanner", 10)?, 10, "one of them is on");
    Ok(())
}

#[test]
fn if_one_interface_refuses_all_stay_as_they_were() -> Result<()> {
    let scene = Scene::new()?;
    let mut filter = Filter::open(scene.pins())?;
    scene.inside(|| filter.install(&mut image(&[SCANNERS]), &interfaces(&[INTERFACE], ModeChoice::Native), None))?;
    // Loopback has no driver. It comes second: by then, the first interface has the new policy.
    let error = scene
        .inside(|| filter.install(&mut image(&[OTHERS]), &interfaces(&[INTERFACE, "lo"], ModeChoice::Native), None))
        .unwrap_err();
    assert!(matches!(&error, Error::NoNativeMode { interface, .. } if interface == "lo"), "{error}");
    assert_eq!(scene.send("friendly-scanner", 10)?, 0, "the first policy is still in force");
    assert_eq!(scene.send("other-scanner", 10)?, 10);
    let state = State::read(&scene.pins())?.context("no state")?;
    assert_eq!((state.generation, state.deployments.len()), (1, 1));
    assert!(!scene.pins.join("next").exists() && !scene.pins.join("lo").exists());
    Ok(())
}

#[test]
fn an_interface_without_native_mode_gets_generic_mode_and_a_note_why() -> Result<()> {
    let scene = Scene::new()?;
    let mut filter = Filter::open(scene.pins())?;
    let installed =
        scene.inside(|| filter.install(&mut image(&[SCANNERS]), &interfaces(&["lo"], ModeChoice::Auto), None))?;
    let attached = &installed.interfaces[0];
    assert_eq!(attached.mode, Mode::Generic);
    assert!(attached.note.as_deref().is_some_and(|note| note.contains("refused native mode")), "{attached:?}");
    Ok(())
}

#[test]
fn each_interface_has_its_own_mode() -> Result<()> {
    let scene = Scene::new()?;
    let mut filter = Filter::open(scene.pins())?;
    let listed = [(INTERFACE, ModeChoice::Native), ("lo", ModeChoice::Generic)];
    let listed = listed.map(|(name, mode)| Interface { name: name.to_owned(), mode });
    let installed = scene.inside(|| filter.install(&mut image(&[SCANNERS]), &listed, None))?;
    let modes: Vec<(&str, Mode)> =
        installed.interfaces.iter().map(|attached| (attached.interface.as_str(), attached.mode)).collect();
    assert_eq!(modes, [(INTERFACE, Mode::Native), ("lo", Mode::Generic)]);
    // A mode that was not asked for before changes only its own interface.
    let listed = interfaces(&[INTERFACE, "lo"], ModeChoice::Generic);
    let installed = scene.inside(|| filter.install(&mut image(&[SCANNERS]), &listed, None))?;
    let notes: Vec<bool> = installed.interfaces.iter().map(|attached| attached.note.is_some()).collect();
    assert_eq!(notes, [true, false], "{:?}", installed.interfaces);
    Ok(())
}

#[test]
fn an_interface_without_ethernet_headers_is_refused_by_its_name_and_kind() -> Result<()> {
    let scene = Scene::new()?;
    scene.wire.server.ip(&["tuntap", "add", "dev", "tun0", "mode", "tun"])?;
    scene.wire.server.ip(&["tuntap", "add", "dev", "tap0", "mode", "tap"])?;
    let mut kinds = vec![("tun0", "tun")];
    // Not every kernel has these.
    let local = ["local", Wire::SERVER_IPV4, "remote", "10.20.0.66"];
    for (kind, name, arguments) in [("wireguard", "wg0", &[][..]), ("ipip", "ipip0", &local), ("gre", "gre0x", &local)]
    {
        if scene.wire.server.ip(&[&["link", "add", name, "type", kind], arguments].concat()).is_ok() {
            kinds.push((name, kind));
        }
    }
    let mut filter = Filter::open(scene.pins())?;
    for (name, kind) in kinds {
        // It comes second: the first one must stay without a filter too.
        let listed = interfaces(&[INTERFACE, name], ModeChoice::Auto);
        let error = scene.inside(|| filter.install(&mut image(&[SCANNERS]), &listed, None)).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("interface {name} is not Ethernet (link type {kind}): nothing can be read there")
        );
        assert!(error.help().is_some_and(|help| help.contains("ip -brief link")), "{error}");
        assert!(!filter.is_attached()?);
    }
    // An Ethernet interface of the same driver.
    let installed =
        scene.inside(|| filter.install(&mut image(&[SCANNERS]), &interfaces(&["tap0"], ModeChoice::Auto), None))?;
    assert_eq!(installed.interfaces[0].interface, "tap0");
    Ok(())
}

#[test]
fn an_interface_that_was_recreated_gets_a_new_link() -> Result<()> {
    let scene = Scene::new()?;
    scene.wire.server.ip(&["link", "add", "eth0.7", "type", "veth", "peer", "name", "other"])?;
    let mut filter = Filter::open(scene.pins())?;
    let listed = interfaces(&["eth0.7"], ModeChoice::Auto);
    scene.inside(|| filter.install(&mut image(&[SCANNERS]), &listed, None))?;
    assert!(State::read(&scene.pins())?.context("no state")?.deployments[0].attached);
    scene.wire.server.ip(&["link", "delete", "eth0.7"])?;
    assert!(!State::read(&scene.pins())?.context("no state")?.deployments[0].attached);

    scene.wire.server.ip(&["link", "add", "eth0.7", "type", "veth", "peer", "name", "other"])?;
    let installed = scene.inside(|| filter.install(&mut image(&[SCANNERS]), &listed, None))?;
    let note = installed.interfaces[0].note.clone().unwrap_or_default();
    assert!(note.contains("recreated"), "{note}");
    assert!(State::read(&scene.pins())?.context("no state")?.deployments[0].attached);
    Ok(())
}

/// The counts of each interface: passed, would have been dropped, dropped.
fn by_interface(scene: &Scene) -> Result<Vec<(String, [u64; 3])>> {
    let counts = Counts::read(&scene.pins())?;
    let fates = |count: &InterfaceCount| [count.passed, count.would, count.dropped].map(|fate| fate.packets);
    Ok(counts.interfaces.iter().map(|count| (count.interface.clone(), fates(count))).collect())
}

#[test]
fn packets_are_counted_by_interface_and_those_of_one_that_is_gone_are_no_other_ones() -> Result<()> {
    let scene = Scene::new()?;
    let server = &scene.wire.server;
    let index = server.ip(&["-o", "link", "show", INTERFACE])?;
    let index: u32 = index.split(':').next().context("no index")?.trim().parse()?;
    let mut filter = Filter::open(scene.pins())?;
    let mut install = |names: &[&str]| {
        let report = SCANNERS.replace("\"scanners\"", "\"reported\"").replace("friendly", "other");
        let mut image = image(&[SCANNERS, &format!("{report}mode = \"report\"\n")]);
        scene.inside(|| filter.install(&mut image, &interfaces(names, ModeChoice::Auto), None))
    };
    install(&[INTERFACE])?;
    // (After each come one that passes, and whatever else the kernels say to each other.)
    scene.send("friendly-scanner", 10)?;
    scene.send("other-scanner", 5)?;
    let [(name, [passed, would, dropped])] = &by_interface(&scene)?[..] else { panic!("one interface") };
    assert_eq!((name.as_str(), *would, *dropped), (INTERFACE, 5, 10));
    assert!(*passed >= 2, "{passed}");
    let all = |scene: &Scene| -> Result<u64> {
        Ok(Counts::read(&scene.pins())?.reasons.iter().map(|count| count.packets).sum())
    };
    assert!(all(&scene)? >= 17);

    // Another one with the same counters: together while both are filtered.
    let other = (index + 64).to_string();
    server.ip(&["link", "add", "eth0.7", "index", &other, "type", "veth", "peer", "name", "other"])?;
    install(&[INTERFACE, "eth0.7"])?;
    let together = by_interface(&scene)?;
    let [(name, [_, 5, 10])] = &together[..] else { panic!("{together:?}") };
    assert_eq!(name, &format!("eth0.7 {INTERFACE}"));

    // And for itself once the first is gone: what that one has counted stays in the sum of all.
    install(&["eth0.7"])?;
    server.ip(&["link", "delete", "eth0.7"])?;
    assert_eq!(by_interface(&scene)?, []);
    let before = all(&scene)?;
    server.ip(&["link", "add", "eth0.7", "index", &other, "type", "veth", "peer", "name", "other"])?;
    install(&["eth0.7"])?;
    assert_eq!(by_interface(&scene)?, [("eth0.7".to_owned(), [0; 3])]);
    assert_eq!(all(&scene)?, before);
    Ok(())
}

#[test]
fn an_interface_that_is_no_longer_listed_is_detached() -> Result<()> {
    let scene = Scene::new()?;
    let mut filter = Filter::open(scene.pins())?;
    scene
        .inside(|| filter.install(&mut image(&[SCANNERS]), &interfaces(&[INTERFACE, "lo"], ModeChoice::Auto), None))?;
    let installed =
        scene.inside(|| filter.install(&mut image(&[SCANNERS]), &interfaces(&["lo"], ModeChoice::Auto), None))?;
    assert_eq!(installed.removed, [INTERFACE]);
    assert_eq!(scene.send("friendly-scanner", 10)?, 10);
    Ok(())
}

#[test]
fn two_processes_never_use_the_same_pins() -> Result<()> {
    let scene = Scene::new()?;
    let _filter = Filter::open(scene.pins())?;
    assert!(matches!(Filter::open(scene.pins()), Err(Error::Busy(_))));
    assert!(matches!(kernel::detach(&scene.pins()), Err(Error::Busy(_))));
    Ok(())
}

#[test]
fn pins_of_a_newer_schema_are_refused_with_the_command_that_helps() -> Result<()> {
    let scene = Scene::new()?;
    drop(Filter::open(scene.pins())?);
    std::fs::remove_file(scene.pins.join("META"))?;
    let mut other: aya::maps::Array<_, u32> = aya::maps::Array::create(1, 0)?;
    other.set(0, 4242, 0)?;
    other.pin(scene.pins.join("META"))?;
    let error = Filter::open(scene.pins()).unwrap_err();
    assert!(matches!(&error, Error::Schema { found, .. } if found.0 == Some(4242)), "{error}");
    let help = error.help().unwrap_or_default();
    assert!(help.contains(&format!("ringfence detach --pin-dir {}", scene.pins.display())), "{help}");
    // And that command helps.
    kernel::detach(&scene.pins())?;
    Filter::open(scene.pins())?;
    Ok(())
}

/// The schema version that the older program of these tests has: the last one before this one's.
const OLDER: u32 = filter_core::layout::SCHEMA_VERSION - 1;

/// Makes the filter that is in force one of an older version: by its meta map, and by a counter map of another shape.
fn make_older(scene: &Scene) -> Result<()> {
    let path = scene.pins.join("META");
    let data = aya::maps::MapData::from_pin(&path)?;
    let mut meta: aya::maps::Array<_, [u8; 552]> = aya::maps::Map::Array(data).try_into()?;
    let mut bytes = meta.get(&0, 0)?;
    bytes[..4].copy_from_slice(&OLDER.to_ne_bytes());
    meta.set(0, bytes, 0)?;
    std::fs::remove_file(scene.pins.join("REASON_COUNTERS"))?;
    aya::maps::Array::<_, u32>::create(1, 0)?.pin(scene.pins.join("REASON_COUNTERS"))?;
    Ok(())
}

#[test]
fn a_filter_of_an_older_version_is_taken_over_without_a_gap_with_its_bans() -> Result<()> {
    let scene = Scene::new()?;
    let mut filter = Filter::open(scene.pins())?;
    let listed = interfaces(&[INTERFACE], ModeChoice::Auto);
    scene.inside(|| filter.install(&mut image(&[OTHERS, SCANNERS]), &listed, None))?;
    let link = scene.link()?;
    let banned: Prefix = Prefix::to_ban("192.0.2.7")?;
    Bans::new(scene.pins()).ban(banned, 3_600)?;
    drop(filter);
    make_older(&scene)?;
    assert!(matches!(State::read(&scene.pins()), Err(Error::Schema { .. })), "it cannot be read");

    let mut filter = Filter::open(scene.pins())?;
    assert!(filter.is_attached()? && !filter.can_be_adopted());
    let (arrived, sent) = under_traffic(&scene, 100, || {
        let installed = scene.inside(|| filter.install(&mut image(&[SCANNERS]), &listed, None))?;
        assert_eq!((installed.took_over, installed.generation), (Some(OLDER), 2));
        let note = installed.interfaces[0].note.clone().unwrap_or_default();
        ensure!(note.contains("without a gap"), "{note}");
        Ok(())
    })?;
    assert_eq!(arrived, 0, "of {sent} packets that both versions drop");
    assert_eq!(scene.link()?, link, "the link is the same");
    assert!(!scene.pins.join("before").exists());
    let bans = Bans::new(scene.pins()).list()?;
    assert_eq!(bans.iter().map(|ban| ban.prefix).collect::<Vec<_>>(), [banned]);
    let before = packets(&scene.pins(), "scanners")?;
    assert_eq!(scene.send("friendly-scanner", 5)?, 0);
    assert_eq!(packets(&scene.pins(), "scanners")?, before + 5);
    // From now on it is like any other.
    drop(filter);
    let mut filter = Filter::open(scene.pins())?;
    assert!(filter.can_be_adopted());
    assert_eq!(scene.inside(|| filter.install(&mut image(&[SCANNERS]), &listed, None))?.took_over, None);
    drop(filter);
    assert_eq!(kernel::detach(&scene.pins())?, [INTERFACE]);
    assert!(!scene.pins.exists());
    Ok(())
}

#[test]
fn a_takeover_that_fails_or_is_cut_short_leaves_the_older_filter_in_force() -> Result<()> {
    let scene = Scene::new()?;
    let mut filter = Filter::open(scene.pins())?;
    let listed = interfaces(&[INTERFACE], ModeChoice::Auto);
    scene.inside(|| filter.install(&mut image(&[SCANNERS]), &listed, None))?;
    drop(filter);
    make_older(&scene)?;
    let names = || -> Result<Vec<String>> {
        let mut names: Vec<String> = std::fs::read_dir(&scene.pins)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<Result<_>>()?;
        names.sort();
        Ok(names)
    };
    let before = names()?;
    let mut filter = Filter::open(scene.pins())?;
    let cancel = Cancel::default();
    cancel.cancel();
    let refused = scene.inside(|| filter.install_unless(&cancel, &mut image(&[SCANNERS]), &listed, None));
    assert!(matches!(refused, Err(Error::Cancelled)), "{refused:?}");
    assert_eq!(names()?, before, "everything is where it was");
    assert_eq!(scene.send("friendly-scanner", 5)?, 0, "the older filter is in force");
    drop(filter);
    assert!(matches!(State::read(&scene.pins()), Err(Error::Schema { .. })));

    // Killed before the swap: after some of it was set aside, and after all of it was.
    std::fs::create_dir(scene.pins.join("before"))?;
    for name in ["SLOTS", "current", "REASON_COUNTERS"] {
        std::fs::rename(scene.pins.join(name), scene.pins.join("before").join(name))?;
    }
    assert!(Filter::open(scene.pins())?.is_attached()?);
    for name in
        before.iter().filter(|name| !["SLOTS", "current", "REASON_COUNTERS", INTERFACE].contains(&name.as_str()))
    {
        std::fs::rename(scene.pins.join(name), scene.pins.join("before").join(name))?;
    }
    // And after this version's own maps were begun.
    drop(Filter::open(scene.pins())?);
    let mut begun: aya::maps::Array<_, [u8; 552]> = aya::maps::Array::create(1, 0)?;
    let mut bytes = [0; 552];
    bytes[..4].copy_from_slice(&filter_core::layout::SCHEMA_VERSION.to_ne_bytes());
    begun.set(0, bytes, 0)?;
    begun.pin(scene.pins.join("META"))?;
    let mut filter = Filter::open(scene.pins())?;
    assert!(filter.is_attached()? && !filter.can_be_adopted());
    let (arrived, sent) = under_traffic(&scene, 100, || {
        scene.inside(|| filter.install(&mut image(&[SCANNERS]), &listed, None))?;
        Ok(())
    })?;
    assert_eq!(arrived, 0, "of {sent}");
    assert!(!scene.pins.join("before").exists());
    assert!(filter.can_be_adopted());
    Ok(())
}

#[test]
fn an_interface_that_is_absent_is_no_reason_for_another_generation() -> Result<()> {
    let scene = Scene::new()?;
    let mut filter = Filter::open(scene.pins())?;
    let listed = interfaces(&[INTERFACE, "absent0"], ModeChoice::Auto);
    let installed = scene.inside(|| filter.install(&mut image(&[SCANNERS]), &listed, None))?;
    assert_eq!(installed.absent, ["absent0"]);
    assert!(scene.inside(|| filter.is_on(&listed)));
    assert!(
        !scene.inside(|| filter.is_on(&interfaces(&["absent0"], ModeChoice::Auto))),
        "it is to be taken off the other"
    );
    Ok(())
}

#[test]
fn a_pinned_map_of_another_shape_is_refused() -> Result<()> {
    let scene = Scene::new()?;
    let mut filter = Filter::open(scene.pins())?;
    aya::maps::Array::<_, u32>::create(1, 0)?.pin(scene.pins.join("REASON_COUNTERS"))?;
    let error = scene
        .inside(|| filter.install(&mut image(&[SCANNERS]), &interfaces(&[INTERFACE], ModeChoice::Auto), None))
        .unwrap_err();
    assert!(matches!(error, Error::Shape { .. }), "{error}");
    assert!(!filter.is_attached()?);
    assert!(!scene.pins.join("next").exists(), "the failed generation was not removed");
    Ok(())
}

#[test]
fn events_name_what_was_dropped() -> Result<()> {
    let scene = Scene::new()?;
    let mut filter = Filter::open(scene.pins())?;
    scene.inside(|| filter.install(&mut image(&[SCANNERS]), &interfaces(&[INTERFACE], ModeChoice::Auto), None))?;
    scene.send("friendly-scanner", 1)?;
    let mut ring = Ring::open(&scene.pins())?;
    let (event, frame) = ring.pop().context("no event")?;
    assert_eq!(frame.len(), event.length as usize, "the packet comes with it");
    assert_eq!(event.destination_port, 5060);
    assert_eq!((event.method, event.user_agent_length), (Method::Options, 0), "what it says is read in the packet");
    assert!(frame.windows(16).any(|window| window == b"friendly-scanner"));
    assert!(ring.pop().is_none(), "the probes before attaching left no events");
    Ok(())
}

const SCANNERS: &str = r#"
[[rule]]
name = "scanners"
match.user_agent = ["friendly-scanner"]
action = "drop"
"#;

const OTHERS: &str = r#"
[[rule]]
name = "others"
match.user_agent = ["other-scanner"]
action = "drop"
"#;

fn image(rules: &[&str]) -> Image {
    let text = format!("version = 1\ndefault = \"pass\"\n[network]\nudp = [5060]\n{}", rules.concat());
    policy::text(&text).image
}

fn interfaces(names: &[&str], mode: ModeChoice) -> Vec<Interface> {
    names.iter().map(|&name| Interface { name: name.to_owned(), mode }).collect()
}

fn packets(pins: &Pins, rule: &str) -> Result<u64> {
    let counts = Counts::read(pins)?;
    let row = counts.rules.iter().find(|row| row.rule == rule).with_context(|| format!("no rule {rule}"))?;
    Ok(row.packets)
}

fn message(user_agent: &str) -> Vec<u8> {
    format!(
        "OPTIONS sip:100@{server} SIP/2.0\r\nVia: SIP/2.0/UDP 10.20.0.66:5060;branch=z9hG4bK-1\r\n\
         From: <sip:100@{server}>;tag=1\r\nTo: <sip:100@{server}>\r\nCall-ID: 1@10.20.0.66\r\nCSeq: 1 OPTIONS\r\n\
         User-Agent: {user_agent}\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
        server = Wire::SERVER_IPV4
    )
    .into_bytes()
}

/// A UDP datagram to port 5060 in an Ethernet frame.
fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 42];
    frame[12] = 8;
    frame[14] = 0x45;
    frame[16..18].copy_from_slice(&(28 + payload.len() as u16).to_be_bytes());
    frame[22..24].copy_from_slice(&[64, 17]);
    frame[26..34].copy_from_slice(&[10, 20, 0, 66, 10, 20, 0, 1]);
    frame[34..38].copy_from_slice(&[0x13, 0xc4, 0x13, 0xc4]);
    frame[38..40].copy_from_slice(&(8 + payload.len() as u16).to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A wire with a sender, and its own pin directory.
struct Scene {
    wire: Wire,
    pins: PathBuf,
    receiver: UdpSocket,
    sender: UdpSocket,
}

impl Scene {
    fn new() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let wire = Wire::new(&WireOptions::default())?;
        wire.add_sender("10.20.0.66".parse()?)?;
        let receiver = within(&wire.server.path(), || UdpSocket::bind((Wire::SERVER_IPV4, 5060)))?;
        // Longer than any packet sent earlier can be delayed.
        receiver.set_read_timeout(Some(Duration::from_millis(200)))?;
        let sender = within(&wire.network.path(), || UdpSocket::bind("10.20.0.66:0"))?;
        sender.connect((Wire::SERVER_IPV4, 5060))?;
        let name = format!("ringfence-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        Ok(Self { wire, pins: Path::new("/sys/fs/bpf").join(name), receiver, sender })
    }

    fn pins(&self) -> Pins {
        Pins::new(&self.pins)
    }

    /// The id of the filter's link.
    fn link(&self) -> Result<u32> {
        let state = State::read(&self.pins())?.context("no state")?;
        state.deployments[0].link.context("no link")
    }

    /// Runs a function in the server's namespace.
    fn inside<T: Send>(&self, function: impl FnOnce() -> T + Send) -> T {
        within(&self.wire.server.path(), function)
    }

    /// Sends `count` requests with this user agent; returns how many arrived.
    fn send(&self, user_agent: &str, count: u64) -> Result<u64> {
        for _ in 0..count {
            self.sender.send(&message(user_agent))?;
        }
        // Almost everything that passed the filter is in the receiver's queue by now. A message that every policy here
        // passes comes after all of them.
        self.sender.send(&message("end of the test's packets"))?;
        let mut arrived = 0;
        let mut buffer = [0; 2048];
        loop {
            let length = self.receiver.recv(&mut buffer).context("the last packet did not arrive")?;
            if buffer[..length].windows(9).any(|window| window == b"end of th") {
                return Ok(arrived);
            }
            arrived += 1;
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Err(error) = kernel::detach(&self.pins()) {
            eprintln!("failed to detach the filter: {error}");
            let _ = std::fs::remove_dir_all(&self.pins);
        }
    }
}

/// Runs a function on a thread in a network namespace.
fn within<T: Send>(namespace: &Path, function: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            use std::os::fd::AsFd as _;

            let namespace = File::open(namespace).expect("the namespace exists");
            rustix::thread::move_into_link_name_space(
                namespace.as_fd(),
                Some(rustix::thread::LinkNameSpaceType::Network),
            )
            .expect("entering a namespace needs root");
            function()
        });
        thread.join().expect("panicked in the namespace")
    })
}
