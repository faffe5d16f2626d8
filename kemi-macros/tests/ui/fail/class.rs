use kemi_macros::kemi_export;

struct Cx;

struct Session(u32);

#[kemi_export(module = "m")]
impl Session {
    fn by_value(self) -> u32 {
        self.0
    }

    #[kemi(get)]
    fn with_argument(&self, by: u32) -> u32 {
        self.0 + by
    }

    #[kemi(set)]
    fn timeout(&mut self, seconds: u32) {
        self.0 = seconds;
    }

    #[kemi(get)]
    fn make() -> Self {
        Session(0)
    }

    #[kemi(get, text)]
    fn both(&self) -> String {
        String::new()
    }

    #[kemi(module = "other")]
    fn elsewhere(&self) {}

    #[kemi(getter)]
    fn misspelt(&self) -> u32 {
        self.0
    }

    async fn wait(&self) {}
}

#[kemi_export(module = "m")]
impl Clone for Session {
    fn clone(&self) -> Session {
        Session(self.0)
    }
}

struct Pair<T>(T);

#[kemi_export(module = "m")]
impl<T> Pair<T> {
    fn make(_cx: &mut Cx) {}
}

struct NoClass;

#[kemi_export(module = "m")]
fn takes(_object: kemi_core::Handle<NoClass>) {}

fn main() {}
