//! What the package installs fits together: its units, its configuration, its users and its lists. Building it is `cargo xtask package`.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

const SERVICE: &str = include_str!("../../packaging/systemd/ringfence.service");
const MOUNT: &str = include_str!("../../packaging/systemd/run-ringfence-bpf.mount");
const SYSUSERS: &str = include_str!("../../packaging/systemd/ringfence.sysusers");
const TMPFILES: &str = include_str!("../../packaging/systemd/ringfence.tmpfiles");
const CONFIGURATION: &str = include_str!("../../packaging/ringfence.toml");
const MANIFEST: &str = include_str!("../../packaging/deb/contents");

/// The highest exposure that `systemd-analyze security` may find, in tenths.
const EXPOSURE: &str = "29";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the workspace")
}

/// The values of a key of a unit.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

/// Runs `systemd-analyze` on the units, with a program in place of the one that is not installed. None where there is no systemd.
fn analyze(arguments: &[&str], names: &[&str]) -> Option<Output> {
    let folder = tempfile::tempdir().expect("a folder");
    let paths: Vec<PathBuf> = [("ringfence.service", SERVICE), ("run-ringfence-bpf.mount", MOUNT)]
        .into_iter()
        .filter(|(name, _)| names.contains(name))
        .map(|(name, unit)| {
            let path = folder.path().join(name);
            fs::write(&path, unit.replace("/usr/bin/ringfence", "/bin/true")).expect("it is written");
            path
        })
        .collect();
    match Command::new("systemd-analyze").args(arguments).args(paths).output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            ringfence_tests::say("SKIPPED: systemd-analyze is not installed");
            None
        }
        Err(error) => panic!("systemd-analyze: {error}"),
    }
}

#[test]
fn systemd_accepts_the_units() {
    // The manual page that they name is not installed here.
    let names = ["ringfence.service", "run-ringfence-bpf.mount"];
    let Some(output) = analyze(&["verify", "--man=no", "--recursive-errors=no"], &names) else { return };
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_service_is_exposed_to_little() {
    let arguments = ["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE];
    let Some(output) = analyze(&arguments, &["ringfence.service"]) else { return };
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("Overall exposure level"), "{text}");
}

#[test]
fn the_service_has_the_capabilities_that_the_program_asks_for_and_no_others() {
    let wanted = "CAP_BPF CAP_NET_ADMIN CAP_NET_RAW CAP_PERFMON";
    assert_eq!(values(SERVICE, "AmbientCapabilities"), [wanted]);
    assert_eq!(values(SERVICE, "CapabilityBoundingSet"), [wanted]);
    let advice = fs::read_to_string(root().join("controller/src/kernel/error.rs")).expect("it is there");
    let advice: String = advice.split(['\\', '\n']).map(str::trim_start).collect();
    assert!(advice.contains(&format!("AmbientCapabilities={wanted}")), "the program advises others");
}

#[test]
fn the_filter_of_system_calls_allows_bpf_in_the_end() {
    // systemd applies the lines in order, and counts bpf() among the privileged calls.
    let lines = values(SERVICE, "SystemCallFilter");
    let last = |is: &dyn Fn(&str) -> bool| lines.iter().rposition(|line| is(line));
    let allowed = last(&|line| !line.starts_with('~') && line.split(' ').any(|call| call == "bpf"));
    assert!(allowed > last(&|line| line.starts_with('~')), "{lines:?}");
}

#[test]
fn the_configuration_puts_its_pins_where_the_mount_is_and_its_socket_where_the_service_may_write() {
    let [at] = values(MOUNT, "Where")[..] else { panic!("the mount is somewhere") };
    assert_eq!(values(SERVICE, "RequiresMountsFor"), [at]);
    assert!(SERVICE.contains(&format!("chown --recursive ringfence:ringfence {at}\n")));
    assert!(CONFIGURATION.lines().any(|line| line == format!("directory = \"{at}/filter\"")));
    let [writable] = values(SERVICE, "ReadWritePaths")[..] else { panic!("one path is writable") };
    assert!(CONFIGURATION.contains(&format!("socket = \"{writable}/ringfence.sock\"")));
    assert!(TMPFILES.lines().any(|line| line == format!("d {writable} 0750 ringfence ringfence -")), "{TMPFILES}");
    assert!(at.starts_with(writable));
}

#[test]
fn the_user_of_the_service_is_made_and_can_not_log_in() {
    let user = SYSUSERS.lines().find(|line| line.starts_with("u ringfence ")).expect("the user is made");
    assert!(user.ends_with("/usr/sbin/nologin"), "{user}");
    assert_eq!((values(SERVICE, "User"), values(SERVICE, "Group")), (vec!["ringfence"], vec!["ringfence"]));
}

#[test]
fn installing_neither_starts_nor_enables_anything() {
    let script = fs::read_to_string(root().join("packaging/deb/postinst")).expect("it is there");
    let acts = script.lines().filter(|line| line.contains("systemctl") || line.contains("deb-systemd"));
    for line in acts {
        let only_what_runs = line.contains("daemon-reload") || line.contains("try-restart");
        assert!(only_what_runs, "{line}");
    }
    assert!(CONFIGURATION.lines().any(|line| line == "report = true"), "the first start only reports");
}

#[test]
fn the_scripts_are_ones_that_a_shell_can_read() {
    for name in ["postinst", "prerm", "postrm", "test-boot", "test-install"] {
        let path = root().join("packaging/deb").join(name);
        let output = Command::new("sh").arg("-n").arg(&path).output().expect("there is a shell");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn the_list_of_the_packages_contents_is_that_of_its_assets() {
    let manifest = fs::read_to_string(root().join("controller/Cargo.toml")).expect("it is there");
    let listed: BTreeSet<&str> = MANIFEST.lines().filter_map(|line| line.split(" ./").nth(1)).collect();
    let assets: Vec<Vec<&str>> = manifest
        .lines()
        .filter_map(|line| line.trim().strip_prefix("[\"")?.strip_suffix("\"],"))
        .map(|line| line.split("\", \"").collect())
        .collect();
    assert!(assets.len() > 10, "the assets were found: {assets:?}");
    for asset in &assets {
        let [source, target, mode] = asset[..] else { panic!("an asset has three parts: {asset:?}") };
        let is_there = listed.iter().any(|path| {
            path.strip_suffix('*').is_some_and(|directory| target.starts_with(directory))
                || if target.ends_with('/') { path.starts_with(target) } else { *path == target }
        });
        assert!(
            is_there,
            "{target} is not in packaging/deb/contents: `RINGFENCE_UPDATE_EXPECTED=1 cargo xtask package` writes it"
        );
        let made = source.starts_with("target/") || source.starts_with("../target/");
        let pattern = source.contains('*');
        assert!(made || pattern || root().join("controller").join(source).exists(), "{source} does not exist");
        assert!(["644", "755"].contains(&mode), "{asset:?}");
    }
    let orphans: Vec<_> = listed
        .iter()
        .filter(|path| {
            !assets.iter().any(|asset| {
                path.trim_end_matches('*').starts_with(asset[1]) || asset[1].starts_with(path.trim_end_matches('*'))
            })
        })
        .collect();
    assert!(orphans.is_empty(), "no asset makes {orphans:?}");
}

#[test]
fn the_packages_version_is_the_programs() {
    let changelog = fs::read_to_string(root().join("packaging/deb/changelog")).expect("it is there");
    assert!(changelog.starts_with(&format!("ringfence ({}-1) ", env!("CARGO_PKG_VERSION"))), "{changelog}");
}

/// Every file of the example whose name ends so.
fn of_ansible(extension: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("docs/ansible")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("it is there").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|known| known == extension) {
                let text = fs::read_to_string(&path).expect("it is text");
                found.push((path, text));
            }
        }
    }
    found
}

#[test]
fn the_ansible_example_is_yaml_and_its_tasks_have_names() {
    use saphyr::{LoadableYamlNode as _, Yaml};

    let files = of_ansible("yml");
    assert!(files.len() >= 5, "{files:?}");
    for (path, text) in &files {
        let documents = Yaml::load_from_str(text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(documents.len(), 1, "{}", path.display());
        if path.ends_with("tasks/main.yml") || path.ends_with("handlers/main.yml") {
            let tasks = documents[0].as_sequence().unwrap_or_else(|| panic!("{}: no list", path.display()));
            assert!(tasks.iter().all(|task| task.as_mapping_get("name").is_some()), "{}", path.display());
        }
    }
}
