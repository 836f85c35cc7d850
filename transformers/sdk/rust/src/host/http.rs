//! Requests to the hosts that the operator lists. Capability `network-client`.

use serde::Deserialize;

use super::Error;
use super::call::ask;
use super::pack::{self, Bytes, Request as Packed};
use crate::outcome::write_count;

/// A request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    /// `GET`, `POST`, …
    pub method: &'r str,
    /// The whole URL.
    pub url: &'r str,
    /// Name and value, in order.
    pub headers: &'r [(&'r str, &'r str)],
    /// What is sent along.
    pub body: Option<&'r [u8]>,
}

/// The other side's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// `200`, `404`, …
    pub status: u16,
    /// Name and value, in order.
    pub headers: Vec<(String, String)>,
    /// What came along.
    pub body: Vec<u8>,
}

#[derive(Deserialize)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Request<'_> {
    fn packed(&self) -> Vec<u8> {
        let mut packed = Packed::map(4).text("method").text(self.method).text("url").text(self.url).text("headers");
        write_count(&mut packed.0, self.headers.len());
        for (name, value) in self.headers {
            packed.0.push(0x92);
            packed = packed.text(name).text(value);
        }
        packed.text("body").bytes(self.body).0
    }
}

/// Sends the request and waits for the answer.
pub fn send(request: &Request) -> Result<Response, Error> {
    let answer: Answer = pack::answer(&ask!("http_request", request.packed())?)?;
    Ok(Response { status: answer.status, headers: answer.headers, body: answer.body.0 })
}

/// A GET without headers.
pub fn get(url: &str) -> Result<Response, Error> {
    send(&Request { method: "GET", url, headers: &[], body: None })
}
