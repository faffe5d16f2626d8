//! A proxy without sockets, routed by a function in Rust.

use std::collections::BTreeMap;
use std::sync::Arc;

use kemi_core::engine::NativeCallback;
use kemi_core::{NativeEngine, Program, Registry};
use sip_modules::proxy::{Cx, Harness, ProxySettings, RouteNames, Routes, Setup};

/// Starts a proxy of one worker on 127.0.0.1:5060 whose request route is the function.
pub(crate) fn proxy(settings: ProxySettings, route: NativeCallback<Cx>) -> (Harness, Arc<Program<Cx>>) {
    let (callbacks, routes) = Routes::declare(&RouteNames::default());
    let registry = Registry::builder().root("KSR").callbacks(callbacks).build().unwrap();
    let engine = NativeEngine::new("rust").callback("ksr_request_route", route);
    let program = Program::open(Arc::new(engine), &registry, &[]).unwrap();
    let setup = Setup {
        listen: vec!["127.0.0.1:5060".parse().unwrap()],
        workers: 1,
        receive_buffer: None,
        aliases: Vec::new(),
        settings,
        registry,
        routes,
        defines: BTreeMap::new(),
    };
    (Harness::new(setup, &program).unwrap(), program)
}
