//! What is served.

use std::collections::BTreeMap;
use std::fmt;

use hyper::{Method, StatusCode};

use crate::caught::caught;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The status.
    pub status: StatusCode,
    /// The media type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

type Maker = Box<dyn Fn() -> Page + Send + Sync>;

/// What is served, by path.
///
/// ```
/// use sip_modules::http::{Page, Pages};
///
/// let pages = Pages::new().add("/hello", || Page::text(200, "hello\n"));
/// assert_eq!(pages.answer(&hyper::Method::GET, "/hello").body, "hello\n");
/// assert_eq!(pages.answer(&hyper::Method::GET, "/helo").status, 404);
/// assert_eq!(pages.answer(&hyper::Method::POST, "/hello").status, 405);
/// ```
#[derive(Default)]
pub struct Pages {
    table: BTreeMap<&'static str, Maker>,
}

impl Page {
    /// A page of plain text; a status that does not exist becomes 500.
    #[must_use]
    pub fn text(status: u16, body: impl Into<String>) -> Page {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Page { status, content_type: "text/plain; charset=utf-8", body: body.into() }
    }
}

impl Pages {
    /// Serves nothing yet.
    #[must_use]
    pub fn new() -> Pages {
        Pages::default()
    }

    /// Adds a page, which is made anew for each request; it must not take long, since one thread serves all.
    #[must_use]
    pub fn add(mut self, path: &'static str, make: impl Fn() -> Page + Send + Sync + 'static) -> Pages {
        self.table.insert(path, Box::new(make));
        self
    }

    /// Answers a request.
    #[must_use]
    pub fn answer(&self, method: &Method, path: &str) -> Page {
        let Some(make) = self.table.get(path) else {
            let paths: Vec<&str> = self.table.keys().copied().collect();
            return Page::text(404, format!("there is no such page; there is {}\n", paths.join(", ")));
        };
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Page::text(405, "only GET and HEAD\n");
        }
        caught(make).unwrap_or_else(|| {
            Page::text(500, "making the page panicked; this is a bug in the program, whose log has more\n")
        })
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.table.keys()).finish()
    }
}
