//! Benchmarks of user space: the engine that `replay`, `test` and `explain` use, and the way from files to an image.
//!
//! `cargo bench --package filter-policy`

#[path = "../../bench/src/generate.rs"]
#[expect(dead_code, unused_imports, reason = "part of it is used only by the kernel benchmarks and their tests")]
mod generate;
#[path = "../../bench/src/policies.rs"]
#[expect(dead_code, unused_imports, reason = "likewise")]
mod policies;

use std::{hint::black_box, path::PathBuf, sync::Arc};

use criterion::{BenchmarkId, Criterion, Throughput};
use filter_policy::{
    compile,
    engine::Engine,
    language::diagnostics::Diagnostics,
    lists::{self, NumberForm},
    model::NumberingPlan,
};

use crate::{generate::Packet, policies::Lists};

fn lists_of(entries: usize) -> Lists {
    Lists {
        sources: generate::address_list(&generate::ipv4_prefixes(entries), 4),
        numbers: generate::number_list(&generate::numbers(entries, 1)),
        prefixes: generate::prefix_list((entries / 10).min(10_000)),
        patterns: generate::pattern_list(50),
    }
}

/// Packets through the engine, one at a time.
fn engine(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("engine");
    group.throughput(Throughput::Elements(1));
    let rtp = generate::udp(4, 49_172, &[0x80; 172]);
    let invite = Packet::invite(4).frame;
    for rules in [8, 64, 512] {
        let lists = lists_of(100_000);
        let repository = if rules == 64 { policies::all_scopes(&lists) } else { policies::some_rules(rules, &lists) };
        let image = repository.build().expect("the policy compiles");
        let mut engine = Engine::new(&image);
        group.bench_function(BenchmarkId::new("an INVITE, passed", format!("{rules} rules")), |bencher| {
            bencher.iter(|| engine.decide(black_box(&invite)));
        });
        group.bench_function(BenchmarkId::new("RTP", format!("{rules} rules")), |bencher| {
            bencher.iter(|| engine.decide(black_box(&rtp)));
        });
    }
    group.finish();
}

/// From list files to entries.
fn list_files(criterion: &mut Criterion) {
    const ENTRIES: usize = 100_000;
    let mut group = criterion.benchmark_group("lists");
    group.throughput(Throughput::Elements(ENTRIES as u64));
    let file = Arc::new(PathBuf::from("list.txt"));
    let all = lists_of(ENTRIES);
    let ipv6 = generate::address_list(&generate::ipv6_prefixes(ENTRIES), 6);
    for (name, content) in [("IPv4 blocks", &all.sources), ("IPv6 blocks", &ipv6)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                lists::addresses(&file, black_box(content.as_bytes()), usize::MAX, &mut Diagnostics::default())
            });
        });
    }
    let plan = NumberingPlan { country_code: "1".to_owned(), ..NumberingPlan::default() };
    let form = NumberForm::new(true, &plan);
    let file = Arc::new(PathBuf::from("list.csv"));
    group.bench_function("numbers", |bencher| {
        bencher.iter(|| {
            let content = black_box(all.numbers.as_bytes());
            lists::numbers(&file, content, &form, (2026, 1, 1), usize::MAX, &mut Diagnostics::default()).entries
        });
    });
    group.finish();
}

/// From files to an image.
fn compiler(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("compiler");
    group.sample_size(10);
    for entries in [1000, 100_000] {
        let repository = policies::all_scopes(&lists_of(entries));
        group.bench_function(BenchmarkId::new("parse and resolve", entries), |bencher| {
            bencher.iter(|| repository.resolve().expect("the policy resolves"));
        });
        let policy = repository.resolve().expect("the policy resolves");
        group.bench_function(BenchmarkId::new("compile", entries), |bencher| {
            bencher.iter(|| compile::compile(black_box(&policy)).map(|image| image.hash));
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    engine(&mut criterion);
    list_files(&mut criterion);
    compiler(&mut criterion);
    criterion.final_summary();
}
