//! The questions that the benches ask of every language, with their contestants side by side.

use std::cell::RefCell;
use std::rc::Rc;

use kemi::{ArgumentPolicy, Limits};

use crate::floor::{self, Way};
use crate::ours::Ours;
use crate::scripts::{HostCall, SHAPES, loop_name};
use crate::timing::{Contestant, geometric_mean, in_turns, time};
use crate::{Language, Subject};

/// How often each contestant is measured.
const ROUNDS: u32 = 15;

/// Loop turns, or calls, of one measurement.
const TURNS: u64 = 20_000;

/// What one question came to.
#[derive(Clone, Debug)]
pub struct Figure {
    /// The question.
    pub question: String,
    /// Nanoseconds by KEMI.
    pub ours: f64,
    /// Nanoseconds by hand.
    pub floor: f64,
    /// Nanoseconds by the binding crate's usual way.
    pub idiomatic: f64,
}

impl Figure {
    /// Returns how many times the floor KEMI takes.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.ours / self.floor
    }
}

/// The interpreters of a language: KEMI, the floor, the usual way.
pub struct Ring {
    language: Language,
    subjects: [(&'static str, Rc<RefCell<dyn Subject>>); 3],
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("language", &self.language).finish_non_exhaustive()
    }
}

impl Ring {
    /// Loads the bench script three times.
    #[must_use]
    pub fn new(language: Language, limits: Limits) -> Ring {
        let ours = Ours::new(language, limits, ArgumentPolicy::Strict);
        let subjects: [(_, Rc<RefCell<dyn Subject>>); 3] = [
            ("kemi", Rc::new(RefCell::new(ours))),
            ("floor", boxed(floor::subject(language, Way::Floor))),
            ("idiomatic", boxed(floor::subject(language, Way::Idiomatic))),
        ];
        Ring { language, subjects }
    }

    /// Returns the contestants that run a loop of the script.
    #[must_use]
    pub fn loops(&self, function: &str) -> Vec<Contestant<'static>> {
        let name = loop_name(function);
        self.contestants(move |subject, turns| subject.repeat(&name, turns))
    }

    /// Returns the contestants that call a function of the script.
    #[must_use]
    pub fn calls(&self, callback: HostCall) -> Vec<Contestant<'static>> {
        self.contestants(move |subject, times| subject.call(callback, times))
    }

    fn contestants(&self, run: impl Fn(&mut dyn Subject, u64) + Clone + 'static) -> Vec<Contestant<'static>> {
        let contestant = |(name, subject): &(&'static str, Rc<RefCell<dyn Subject>>)| {
            let (subject, run) = (subject.clone(), run.clone());
            Contestant::new(*name, move |times| time(|| run(&mut *subject.borrow_mut(), times)))
        };
        self.subjects.iter().map(contestant).collect()
    }

    /// Measures a call from the script to each native function, net of the empty loop.
    #[must_use]
    pub fn native(&self) -> Vec<Figure> {
        let functions = SHAPES.iter().map(|shape| shape.name).chain(["empty"]);
        let mut contestants: Vec<_> = functions.flat_map(|function| self.loops(function)).collect();
        let nanos = in_turns(&mut contestants, ROUNDS, TURNS);
        let (nanos, empty) = nanos.split_at(nanos.len() - self.subjects.len());
        let net = |row: &[f64]| -> Vec<f64> { row.iter().zip(empty).map(|(gross, empty)| gross - empty).collect() };
        let figures = SHAPES.iter().zip(nanos.chunks(self.subjects.len()));
        figures.map(|(shape, row)| figure(shape.signature.to_owned(), &net(row))).collect()
    }

    /// Measures calls of the script's functions from outside.
    #[must_use]
    pub fn host(&self) -> Vec<Figure> {
        let mut contestants: Vec<_> = HostCall::ALL.into_iter().flat_map(|call| self.calls(call)).collect();
        let nanos = in_turns(&mut contestants, ROUNDS, TURNS);
        let figures = HostCall::ALL.into_iter().zip(nanos.chunks(self.subjects.len()));
        figures.map(|(call, row)| figure(call.name().to_owned(), row)).collect()
    }
}

fn boxed(subject: Box<dyn Subject>) -> Rc<RefCell<dyn Subject>> {
    Rc::new(RefCell::new(Boxed(subject)))
}

struct Boxed(Box<dyn Subject>);

impl Subject for Boxed {
    fn repeat(&mut self, name: &str, turns: u64) {
        self.0.repeat(name, turns);
    }

    fn call(&mut self, callback: HostCall, times: u64) {
        self.0.call(callback, times);
    }
}

fn figure(question: String, row: &[f64]) -> Figure {
    let at = |index: usize| row.get(index).copied().unwrap_or(f64::NAN);
    Figure { question, ours: at(0), floor: at(1), idiomatic: at(2) }
}

/// Prints figures as a table, with the geometric mean of the ratios.
pub fn print(title: &str, figures: &[Figure]) {
    println!("\n{title}\n\n| ns | kemi | floor | idiomatic | kemi : floor |\n|---|--:|--:|--:|--:|");
    for figure in figures {
        let Figure { question, ours, floor, idiomatic } = figure;
        println!("| {question} | {ours:.1} | {floor:.1} | {idiomatic:.1} | {:.2} |", figure.ratio());
    }
    println!("| geometric mean | | | | {:.2} |", geometric_mean(figures.iter().map(Figure::ratio)));
}
