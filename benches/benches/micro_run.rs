//! What do `KSR.pv.get("$rm")` and the four other calls cost that are measured in Kamailio, too? The baseline is the
//! loop without a call; `beside-kamailio` runs the same loops in Kamailio and in the proxy.

use std::cell::RefCell;
use std::rc::Rc;

use criterion::BenchmarkId;
use kemi::{ArgumentPolicy, Limits};
use kemi_benches::Language;
use kemi_benches::micro::{CALLS, Micro};
use kemi_benches::timing::{Contestant, criterion, in_turns, time};

fn main() {
    kemi_python::attached(|| {
        let mut criterion = criterion();
        for language in Language::ALL {
            let micro = Rc::new(RefCell::new(Micro::new(language, Limits::default(), ArgumentPolicy::Strict)));
            let contestant = |(index, (name, _)): (usize, (&'static str, &str))| {
                let micro = micro.clone();
                Contestant::new(name, move |turns| time(|| micro.borrow_mut().repeat(index, turns)))
            };
            let mut contestants: Vec<_> = CALLS.into_iter().enumerate().map(contestant).collect();
            let mut group = criterion.benchmark_group(format!("micro_run/{}", language.engine()));
            for contestant in &mut contestants {
                let id = BenchmarkId::from_parameter(&contestant.name);
                group.bench_function(id, |bencher| bencher.iter_custom(|turns| (contestant.run)(turns)));
            }
            group.finish();
            print(language, &in_turns(&mut contestants, 15, 20_000));
        }
        criterion.final_summary();
    });
}

fn print(language: Language, nanos: &[f64]) {
    let [empty, calls @ ..] = nanos else { return };
    let names: Vec<&str> = CALLS.iter().skip(1).map(|(name, _)| *name).collect();
    let net: Vec<String> = calls.iter().map(|gross| format!("{:.0}", gross - empty)).collect();
    println!("\n| ns, net of the empty loop | {} |\n|---{}|", names.join(" | "), "|--:".repeat(names.len()));
    println!("| {} | {} |", language.engine(), net.join(" | "));
}
