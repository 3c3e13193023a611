//! `cargo xtask big-policy`: the largest policy that the filter accepts, and a capture to replay against it, to measure
//! with.
//!
//! The same arguments give the same files, byte for byte, so that measurements of different versions can be compared:
//!
//! ```text
//! cargo xtask big-policy target/big --packets 1000000
//! /usr/bin/time -v target/release/ringfence check target/big
//! /usr/bin/time -v target/release/ringfence replay --policy target/big --summary target/big/traffic.pcap
//! ```

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{BufWriter, Write as _},
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use ringfence_tests::{message::Message, packet::Packet};

/// The arguments of `cargo xtask big-policy`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The folder; it is created if it does not exist.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Number of rules.
    #[arg(long, value_name = "N", default_value_t = 512)]
    rules: u32,
    /// Number of source addresses and networks in the lists.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    addresses: u32,
    /// Number of telephone numbers in the lists.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    numbers: u32,
    /// Number of packets in the capture `traffic.pcap`; 0 writes no capture.
    #[arg(long, value_name = "N", default_value_t = 0)]
    packets: u32,
}

/// The rules that every such policy begins with.
const FIXED_RULES: u32 = 2;

/// Writes the policy and the capture.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    ensure!(arguments.rules >= FIXED_RULES, "--rules must be at least {FIXED_RULES}");
    let lists = arguments.directory.join("lists");
    fs::create_dir_all(&lists).with_context(|| format!("failed to create {}", lists.display()))?;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    write(&arguments.directory.join("policy.toml"), |file| Ok(file.write_all(policy(arguments.rules).as_bytes())?))?;
    write(&lists.join("trunks.txt"), |file| {
        (0..32).try_for_each(|host| Ok(writeln!(file, "198.51.100.{}", host * 4 + 1)?))
    })?;
    // One IPv4 entry in eight is a network, and one entry in eight is IPv6: published block lists hold all of these.
    write(&lists.join("blocked.txt"), |file| {
        (0..arguments.addresses).try_for_each(|index| {
            let address = random.address();
            match index % 8 {
                7 => writeln!(file, "{}/24", Ipv4Addr::from_bits(address & 0xffff_ff00))?,
                6 => writeln!(file, "2001:db8:{:x}:{:x}::/64", address >> 16, address & 0xffff)?,
                _ => writeln!(file, "{}", Ipv4Addr::from_bits(address))?,
            }
            Ok(())
        })
    })?;
    let scored = arguments.numbers / 4;
    write(&lists.join("dno.csv"), |file| {
        writeln!(file, "number")?;
        (scored..arguments.numbers).try_for_each(|_| Ok(writeln!(file, "+{}$", random.number())?))
    })?;
    write(&lists.join("scores.csv"), |file| {
        writeln!(file, "number,score")?;
        (0..scored).try_for_each(|_| Ok(writeln!(file, "+{}$,{}", random.number(), random.below(101))?))
    })?;
    if arguments.packets > 0 {
        write(&arguments.directory.join("traffic.pcap"), |file| capture(file, arguments.packets, &mut random))?;
    }
    println!("{}", arguments.directory.display());
    Ok(())
}

fn write(path: &Path, content: impl FnOnce(&mut BufWriter<File>) -> Result<()>) -> Result<()> {
    let file = File::create(path).with_context(|| format!("failed to write {}", path.display()))?;
    let mut file = BufWriter::new(file);
    content(&mut file).and_then(|()| Ok(file.flush()?)).with_context(|| format!("failed to write {}", path.display()))
}

/// Rules of every kind, in turn, over the three lists.
fn policy(rules: u32) -> String {
    const COUNTRIES: [&str; 8] = ["LV", "CU", "SO", "TN", "MV", "GM", "LT", "EE"];
    const REGIONS: [&str; 8] = ["US-SD", "US-IA", "US-MN", "US-ND", "US-NE", "US-WY", "US-MT", "US-ID"];
    let mut text = String::from(
        "version = 1\ndefault = \"pass\"\nnever_ban = [\"@trunks\"]\n\n[network]\nudp = [5060]\ntcp = [5060]\n\n\
         [numbering]\ncountry_code = \"1\"\nneighbor_digits = 7\nasserted_identity_from = \"@trunks\"\n\n\
         [sets.trunks]\naddresses = \"lists/trunks.txt\"\n\n[sets.blocked]\naddresses = \"lists/blocked.txt\"\n\n\
         [sets.dno]\nnumbers = \"lists/dno.csv\"\n\n[sets.scores]\nnumbers = \"lists/scores.csv\"\n\n\
         [[rule]]\nname = \"emergency\"\nmatch.called = [\"911$\", \"112$\", \"933$\"]\naction = \"whitelist\"\n\n\
         [[rule]]\nname = \"trunks\"\nmatch.source = \"@trunks\"\naction = \"continue\"\n",
    );
    for rule in 0..rules - FIXED_RULES {
        let place = (rule / 12 % 8) as usize;
        let conditions = match rule % 12 {
            0 => format!("source = \"@blocked\", user_agent = \"scanner-{rule}\""),
            1 => format!("method = \"INVITE\", calling = \"@dno\", called = \"1{}\"", 202 + rule % 700),
            2 => format!("calling_reputation = \">= {}\"", 50 + rule / 12 % 50),
            3 => format!("called_country = \"{}\", calling = \"1{}\"", COUNTRIES[place], 202 + rule % 700),
            4 => format!("called_region = \"{}\", calling = \"1{}\"", REGIONS[place], 202 + rule % 700),
            5 => format!("calling_format = \"unassigned-block\", called = \"1{}\"", 2_020_000 + rule * 100),
            6 => format!("attestation = \"C\", not.source = \"@trunks\", called = \"44{rule}\""),
            7 => format!("\"header\" = {{ subject = \"prize-{rule}\" }}, method = \"MESSAGE\""),
            8 => format!("neighbor = true, called = \"1{}\", not.source = \"@trunks\"", 202 + rule % 700),
            9 => format!("source = \"203.0.113.{}\", called = \"49{rule}\"", rule % 256),
            10 => format!("forwarded_country = \"{}\", called = \"37{rule}\"", COUNTRIES[place]),
            _ => format!("user_agent = \"bulk-dialer/{rule}\", not.calling = \"@scores\""),
        };
        let stage = ["blacklist", "shield", "reputation", "fraud"][(rule % 4) as usize];
        let report = if rule % 3 == 0 { "mode = \"report\"\n" } else { "" };
        let over = if rule % 8 == 5 { "over = { rate = \"5/s\", burst = 20, per = \"called\" }\n" } else { "" };
        let _ = write!(
            text,
            "\n[[rule]]\nname = \"rule-{rule}\"\nstage = \"{stage}\"\nmatch = {{ {conditions} }}\n{over}action = \"drop\"\n{report}"
        );
    }
    text
}

/// Writes INVITEs of ordinary size from random addresses, as a pcap file of Ethernet frames.
fn capture(file: &mut impl std::io::Write, packets: u32, random: &mut Random) -> Result<()> {
    const MAGIC_MICROSECONDS: u32 = 0xa1b2_c3d4;
    const SNAPSHOT_LENGTH: u32 = 65_535;
    const ETHERNET: u32 = 1;
    for field in [MAGIC_MICROSECONDS, 4 << 16 | 2, 0, 0, SNAPSHOT_LENGTH, ETHERNET] {
        file.write_all(&field.to_le_bytes())?;
    }
    for index in 0..packets {
        let (calling, called) = (random.number(), random.number());
        let message = Message::invite().calling(&format!("+{calling}")).called(&format!("+{called}")).bytes();
        let frame = Packet::udp(message).from(&Ipv4Addr::from_bits(random.address()).to_string()).frame();
        let length = u32::try_from(frame.len())?;
        for field in [1_700_000_000 + index / 10_000, index % 10_000 * 100, length, length] {
            file.write_all(&field.to_le_bytes())?;
        }
        file.write_all(&frame)?;
    }
    Ok(())
}

/// A xorshift generator: fast, and with the same output on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 16) % limit
    }

    /// A public IPv4 address, roughly.
    fn address(&mut self) -> u32 {
        ((self.below(200) as u32 + 11) << 24) | (self.next() >> 40) as u32
    }

    /// Eleven digits of the North American Numbering Plan.
    fn number(&mut self) -> u64 {
        10_000_000_000 + (201 + self.below(700)) * 10_000_000 + (200 + self.below(800)) * 10_000 + self.below(10_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> Vec<(String, Vec<u8>)> {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let directory = folder.path().join("policy");
        run(&Arguments { directory: directory.clone(), rules: 64, addresses: 100, numbers: 80, packets: 5 })
            .expect("the folder is writable");
        ["policy.toml", "lists/blocked.txt", "lists/dno.csv", "lists/scores.csv", "lists/trunks.txt", "traffic.pcap"]
            .map(|name| (name.to_owned(), fs::read(directory.join(name)).expect("it is written")))
            .to_vec()
    }

    #[test]
    fn the_same_arguments_give_the_same_files_of_the_size_asked_for() {
        let files = written();
        assert!(files == written(), "two runs differ");
        let lines = |name: &str| {
            let content = &files.iter().find(|(known, _)| known == name).expect("it is written").1;
            content.iter().filter(|&&byte| byte == b'\n').count()
        };
        let rules = String::from_utf8_lossy(&files[0].1).matches("[[rule]]").count();
        assert_eq!(rules, 64);
        // The CSV files have a header each.
        let counts = [lines("lists/blocked.txt"), lines("lists/dno.csv") - 1, lines("lists/scores.csv") - 1];
        assert_eq!(counts, [100, 60, 20]);
    }
}
