//! One request and its answer, both msgpack, with as much room as the answer turns out to need.

use std::fmt;

/// Why the host did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The grant does not cover it, or its budget is used up.
    Denied,
    /// The range does not lie in the guest's memory.
    BadPointer,
    /// Request or answer are larger than the host allows.
    TooLarge,
    /// The other side does not answer, or there is no host.
    Unavailable,
    /// The event's deadline came first.
    Deadline,
    /// The request is not what the host takes: a statement that the database refuses, a URL that is none.
    Invalid,
    /// The answer is not what guest ABI v1 says.
    BadAnswer,
}

impl Error {
    pub(super) fn of_code(code: i32) -> Self {
        match code {
            -1 => Error::Denied,
            -2 => Error::BadPointer,
            -3 => Error::TooLarge,
            -4 => Error::Unavailable,
            -5 => Error::Deadline,
            -6 => Error::Invalid,
            _ => Error::BadAnswer,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Error::Denied => "denied: the registry does not grant it",
            Error::BadPointer => "the range does not lie in the guest's memory",
            Error::TooLarge => "the request or its answer is too large",
            Error::Unavailable => "unavailable",
            Error::Deadline => "the deadline came first",
            Error::Invalid => "the request is not what the host takes",
            Error::BadAnswer => "the host's answer is not what the ABI says",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(self.text())
    }
}

impl std::error::Error for Error {}

/// A host function that takes a request and writes an answer.
pub(super) type Import = unsafe extern "C" fn(*const u8, usize, *mut u8, usize) -> i32;

/// Room for most answers, so that the host is asked once.
const ANSWER_BYTES: usize = 4096;
const TOO_LARGE: i32 = -3;

/// Asks the host; asks again with as much room as the answer needs when it did not fit.
pub(super) fn call(import: Import, request: &[u8]) -> Result<Vec<u8>, Error> {
    let mut answer = vec![0; ANSWER_BYTES];
    // SAFETY: both ranges lie in memory for the whole call; the host writes within the second.
    let ask =
        |answer: &mut Vec<u8>| unsafe { import(request.as_ptr(), request.len(), answer.as_mut_ptr(), answer.len()) };
    let mut code = ask(&mut answer);
    if code == TOO_LARGE {
        let needed = answer.first_chunk().map_or(0, |size| u32::from_le_bytes(*size)) as usize;
        if needed <= answer.len() {
            return Err(Error::TooLarge);
        }
        answer.resize(needed, 0);
        code = ask(&mut answer);
    }
    let length = usize::try_from(code).map_err(|_| Error::of_code(code))?;
    if length > answer.len() {
        return Err(Error::BadAnswer);
    }
    answer.truncate(length);
    Ok(answer)
}

/// Declares the import where it is used, so that a module which does not use it does not ask for it.
macro_rules! ask {
    ($name:literal, $request:expr) => {{
        #[cfg(target_arch = "wasm32")]
        {
            #[link(wasm_import_module = "penstock")]
            unsafe extern "C" {
                #[link_name = $name]
                fn import(request: *const u8, request_len: usize, out: *mut u8, out_capacity: usize) -> i32;
            }
            $crate::host::call::call(import, &$request)
        }
        #[cfg(not(target_arch = "wasm32"))]
        {
            let _ = ($name, &$request);
            Err::<Vec<u8>, _>($crate::host::Error::Unavailable)
        }
    }};
}
pub(super) use ask;

#[cfg(test)]
mod tests {
    use super::*;

    unsafe extern "C" fn echo(request: *const u8, len: usize, out: *mut u8, capacity: usize) -> i32 {
        // SAFETY: the tests pass whole slices.
        let (request, out) =
            unsafe { (std::slice::from_raw_parts(request, len), std::slice::from_raw_parts_mut(out, capacity)) };
        if len > capacity {
            out[..4].copy_from_slice(&(len as u32).to_le_bytes());
            return TOO_LARGE;
        }
        out[..len].copy_from_slice(request);
        len as i32
    }

    unsafe extern "C" fn always_too_large(_: *const u8, _: usize, out: *mut u8, capacity: usize) -> i32 {
        // SAFETY: the tests pass whole slices.
        let out = unsafe { std::slice::from_raw_parts_mut(out, capacity) };
        out[..4].copy_from_slice(&5000_u32.to_le_bytes());
        TOO_LARGE
    }

    unsafe extern "C" fn denied(_: *const u8, _: usize, _: *mut u8, _: usize) -> i32 {
        -1
    }

    #[test]
    fn an_answer_gets_the_room_it_needs() {
        for size in [0, 1, ANSWER_BYTES, ANSWER_BYTES + 1, 100_000] {
            let request = vec![7; size];
            assert_eq!(call(echo, &request), Ok(request));
        }
    }

    #[test]
    fn refusals_have_names() {
        assert_eq!(call(denied, b""), Err(Error::Denied));
        assert_eq!(call(always_too_large, b""), Err(Error::TooLarge));
        assert_eq!(
            [-2, -4, -5, -6, -9].map(Error::of_code),
            [Error::BadPointer, Error::Unavailable, Error::Deadline, Error::Invalid, Error::BadAnswer]
        );
    }
}
