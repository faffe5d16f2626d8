//! An engine that does not say that it confines scripts is taken to be one that does not.

mod toy;

use std::sync::atomic::{AtomicUsize, Ordering};

use kemi_core::engine::Confinement;
use kemi_core::limits::{Facility, Imports};
use kemi_core::{Engine, ErrorCode, Instance, NativeEngine, Profile, Program, Registry};
use toy::Toy;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

static TOLD: AtomicUsize = AtomicUsize::new(0);

/// Counts the lines that tell of an engine that cannot confine.
struct Counts;

impl Subscriber for Counts {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "kemi"
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        struct Text(String);
        impl Visit for Text {
            fn record_debug(&mut self, _field: &Field, value: &dyn std::fmt::Debug) {
                self.0.push_str(&format!("{value:?}"));
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        if text.0.contains("scripts may use all of their language's library") {
            TOLD.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

fn registry(profile: Profile) -> Registry<()> {
    Registry::<()>::builder().root("app").profile(profile).build().expect("is sound")
}

#[test]
fn demanded_confinement_is_refused_and_the_default_is_told_once() {
    tracing::subscriber::set_global_default(Counts).expect("the first one");
    let load = |profile: Profile| Instance::load(&Toy, &registry(profile), &[]);
    for profile in [Profile::confined(), Profile::confined().allow(Facility::Files).imports(Imports::Anywhere)] {
        let error = load(profile.clone()).expect_err("it cannot");
        assert_eq!((error.code, error.engine), (ErrorCode::CannotConfine, "toy"), "{error}");
        assert!(error.message.contains("engine 'toy' cannot keep the profile 'confined'"), "{error}");
        assert!(error.hint.as_ref().is_some_and(|hint| hint.contains("a process of its own")), "{error}");
        let opened = Program::open(std::sync::Arc::new(Toy), &registry(profile), &[]).expect_err("it cannot");
        assert_eq!(opened.code, ErrorCode::CannotConfine, "{opened}");
    }
    assert_eq!(TOLD.load(Ordering::SeqCst), 0);
    load(Profile::open()).expect("what is meant");
    assert_eq!(TOLD.load(Ordering::SeqCst), 0);
    for _ in 0..3 {
        load(Profile::default()).expect("as far as it can");
    }
    assert_eq!(TOLD.load(Ordering::SeqCst), 1);
}

#[test]
fn an_engine_is_asked_through_a_reference_as_well() {
    static NATIVE: &dyn Engine = &Toy;
    assert_eq!(Engine::confinement(&NATIVE), Toy.confinement());
    let native = NativeEngine::<()>::new("rust");
    assert_eq!(native.confinement(), Confinement::Kept);
    Instance::load(&native, &registry(Profile::confined()), &[]).expect("it runs no script");
}
