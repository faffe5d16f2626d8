use kemi_macros::kemi_export;

struct Cx;

#[kemi_export(module = 1)]
fn module(_cx: &mut Cx) {}

#[kemi_export(module = "m", cost = "much")]
fn cost(_cx: &mut Cx) {}

#[kemi_export(module = "m", cost = 5000000000)]
fn dear(_cx: &mut Cx) {}

#[kemi_export(module = "m", callbacks = "request")]
fn callbacks(_cx: &mut Cx) {}

#[kemi_export(module = "m", callbacks())]
fn nowhere(_cx: &mut Cx) {}

#[kemi_export(module = "m", deprecated(since = "1.0"))]
fn deprecated(_cx: &mut Cx) {}

#[kemi_export(module = "m", context = "Cx")]
fn context() {}

#[kemi_export(module = "m", name)]
fn name(_cx: &mut Cx) {}

#[kemi_export(module = "m", since = )]
fn since(_cx: &mut Cx) {}

#[kemi_export(module = "m", blocking = true)]
fn blocking(_cx: &mut Cx) {}

fn main() {}
