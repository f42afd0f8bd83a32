//! Where bodies end, by the fields of their heads.

use message::Method;

use super::{request, response};
use crate::{
    Error, Framing, Length, ResponseFraming, Sender, declare_length, request_framing, response_framing,
    write_response_head,
};

fn framed(fields: &str) -> Result<Framing, Error> {
    framed_in(fields, "1.1")
}

fn framed_in(fields: &str, version: &str) -> Result<Framing, Error> {
    let bytes = format!("GET / HTTP/{version}\r\n{fields}\r\n");
    let (head, _) = request(bytes.as_bytes())?.unwrap();
    request_framing(&head, bytes.as_bytes())
}

fn answered(status: u16, fields: &str) -> Result<ResponseFraming, Error> {
    answered_to(Method::Get, "1.1", status, fields)
}

fn answered_to(method: Method, version: &str, status: u16, fields: &str) -> Result<ResponseFraming, Error> {
    let bytes = format!("HTTP/{version} {status} Reason\r\n{fields}\r\n");
    let (head, _) = response(bytes.as_bytes())?.unwrap();
    response_framing(&head, bytes.as_bytes(), method)
}

const fn verdict(framing: Framing, declared: Length, is_reusable: bool) -> ResponseFraming {
    ResponseFraming { framing, declared, is_reusable }
}

#[test]
fn a_request_without_framing_fields_has_no_body() {
    assert_eq!(framed("Host: h\r\n"), Ok(Framing::None));
    assert_eq!(framed("Content-Length: 0\r\n"), Ok(Framing::None));
}

#[test]
fn a_request_may_have_a_body_whatever_its_method() {
    assert_eq!(framed("Content-Length: 5\r\n"), Ok(Framing::Length(5)));
    assert_eq!(framed_in("Content-Length: 5\r\n", "1.0"), Ok(Framing::Length(5)));
    for coding in ["chunked", "Chunked", " \tCHUNKED\t"] {
        assert_eq!(framed(&format!("Transfer-Encoding: {coding}\r\n")), Ok(Framing::Chunked));
    }
}

#[test]
fn a_content_length_that_is_no_single_number_is_refused() {
    for length in
        ["4, 5", "+4", "", "4, 4", "4,", "-1", "0x4", "4 4", "4\u{b2}", "18446744073709551616", "99999999999999999999"]
    {
        assert_eq!(framed(&format!("Content-Length: {length}\r\n")), Err(Error::ContentLength), "{length:?}");
    }
    assert_eq!(Error::ContentLength.status(Sender::Client).code(), 400);
    assert_eq!(framed("Content-Length: 18446744073709551615\r\n"), Ok(Framing::Length(u64::MAX)));
}

#[test]
fn a_request_has_one_line_of_content_length() {
    for second in ["5", "4", "04", ""] {
        let fields = format!("Content-Length: 4\r\ncontent-length: {second}\r\n");
        assert_eq!(framed(&fields), Err(Error::ContentLength), "{second:?}");
    }
}

#[test]
fn content_length_beside_transfer_encoding_is_refused() {
    for fields in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: x\r\n",
    ] {
        assert_eq!(framed(fields), Err(Error::LengthAndCoding));
    }
    assert_eq!(Error::LengthAndCoding.status(Sender::Client).code(), 400);
}

#[test]
fn an_unknown_transfer_coding_is_not_implemented() {
    for lines in [
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: xchunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip;level=1, chunked\r\n",
    ] {
        assert_eq!(framed(lines), Err(Error::UnknownTransferCoding), "{lines:?}");
    }
    assert_eq!(Error::UnknownTransferCoding.status(Sender::Client).code(), 501);
}

#[test]
fn a_malformed_transfer_encoding_is_refused() {
    for coding in [
        "chunked, chunked",
        "chunked\r\nTransfer-Encoding: chunked",
        "identity",
        "identity, chunked",
        "",
        "chunked,",
        ", chunked",
        "chunked;a=b",
        "chunked ;a",
        "\"chunked\"",
        "chunked gzip",
        "chunked, gzip",
    ] {
        assert_eq!(framed(&format!("Transfer-Encoding: {coding}\r\n")), Err(Error::TransferEncoding), "{coding:?}");
    }
    assert_eq!(framed("Transfer-Encoding: \x0bchunked\r\n"), Err(Error::FieldValue));
    assert_eq!(Error::TransferEncoding.status(Sender::Client).code(), 400);
}

#[test]
fn transfer_encoding_in_http_1_0_is_refused() {
    assert_eq!(framed_in("Transfer-Encoding: chunked\r\n", "1.0"), Err(Error::CodingInHttp10));
    let answer = answered_to(Method::Get, "1.0", 200, "Transfer-Encoding: chunked\r\n");
    assert_eq!(answer, Err(Error::CodingInHttp10));
}

#[test]
fn a_response_is_framed_by_coding_length_or_the_connection() {
    assert_eq!(answered(200, "Content-Length: 5\r\n"), Ok(verdict(Framing::Length(5), Length::Known(5), true)));
    assert_eq!(answered(200, "Content-Length: 0\r\n"), Ok(verdict(Framing::None, Length::Known(0), true)));
    assert_eq!(answered(200, "Transfer-Encoding: chunked\r\n"), Ok(verdict(Framing::Chunked, Length::Chunked, true)));
    assert_eq!(answered(200, ""), Ok(verdict(Framing::UntilClose, Length::Undeclared, false)));
    assert_eq!(answered(205, ""), Ok(verdict(Framing::UntilClose, Length::Undeclared, false)));
}

#[test]
fn two_lengths_of_a_response_must_agree_and_equal_ones_become_one() {
    for lines in ["4\r\nContent-Length: 5", "4, 5", "+4", "", "4,", "x", "99999999999999999999"] {
        for status in [200, 204, 304] {
            let answer = answered(status, &format!("Content-Length: {lines}\r\n"));
            assert_eq!(answer, Err(Error::ContentLength), "{lines:?}");
        }
    }
    let equal = "Content-Length: 4, 4\r\nContent-Length: 4\r\n";
    assert_eq!(answered(200, equal), Ok(verdict(Framing::Length(4), Length::Known(4), true)));
    assert_eq!(Error::ContentLength.status(Sender::Server).code(), 502);
}

#[test]
fn in_a_response_the_coding_wins_over_the_length_and_the_connection_is_not_reused() {
    let both = "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n";
    assert_eq!(answered(200, both), Ok(verdict(Framing::Chunked, Length::Chunked, false)));
    let to_head = answered_to(Method::Head, "1.1", 200, both);
    assert_eq!(to_head, Ok(verdict(Framing::None, Length::Undeclared, false)));
}

#[test]
fn a_response_coding_that_would_stay_undecoded_is_a_bad_gateway() {
    for coding in ["gzip", "gzip, chunked", "identity", "chunked, chunked", ""] {
        let error = answered(200, &format!("Transfer-Encoding: {coding}\r\n")).unwrap_err();
        assert_eq!(error.status(Sender::Server).code(), 502, "{coding}");
    }
}

#[test]
fn a_response_to_head_and_a_304_have_no_body_but_may_declare_its_length() {
    let expected = Ok(verdict(Framing::None, Length::Known(5), true));
    assert_eq!(answered_to(Method::Head, "1.1", 200, "Content-Length: 5\r\n"), expected);
    assert_eq!(answered(304, "Content-Length: 5\r\n"), expected);
    let undeclared = Ok(verdict(Framing::None, Length::Undeclared, true));
    assert_eq!(answered_to(Method::Head, "1.1", 200, ""), undeclared);
    assert_eq!(answered(304, ""), undeclared);
    assert_eq!(answered(304, "Transfer-Encoding: chunked\r\n"), undeclared);
}

#[test]
fn a_204_and_a_1xx_have_no_body_and_one_that_says_so_is_not_trusted() {
    for status in [100, 103, 204] {
        assert_eq!(answered(status, ""), Ok(verdict(Framing::None, Length::Undeclared, true)));
        assert_eq!(answered(status, "Content-Length: 0\r\n"), Ok(verdict(Framing::None, Length::Undeclared, true)));
        for fields in ["Content-Length: 4\r\n", "Transfer-Encoding: chunked\r\n"] {
            assert_eq!(answered(status, fields), Ok(verdict(Framing::None, Length::Undeclared, false)), "{fields}");
        }
    }
}

#[test]
fn a_101_and_a_2xx_to_connect_begin_a_tunnel_whatever_their_fields_say() {
    let tunnel = Ok(verdict(Framing::None, Length::Undeclared, false));
    assert_eq!(answered(101, "Content-Length: x\r\n"), tunnel);
    assert_eq!(answered_to(Method::Connect, "1.1", 200, "Transfer-Encoding: chunked\r\n"), tunnel);
    let refused = answered_to(Method::Connect, "1.1", 403, "Content-Length: 5\r\n");
    assert_eq!(refused, Ok(verdict(Framing::Length(5), Length::Known(5), true)));
}

/// The fields of a response with this length declared.
fn declared(fields: &str, length: Length) -> String {
    let bytes = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
    let (mut head, _) = response(bytes.as_bytes()).unwrap().unwrap();
    declare_length(&mut head.fields, bytes.as_bytes(), length).unwrap();
    let mut out = Vec::new();
    write_response_head(&mut out, head.status(), head.view(bytes.as_bytes()));
    let out = String::from_utf8(out).unwrap();
    out.strip_prefix("HTTP/1.1 200 OK\r\n").unwrap().strip_suffix("\r\n").unwrap().to_owned()
}

#[test]
fn a_length_is_forwarded_in_its_canonical_form() {
    for fields in
        ["Content-Length: 010\r\n", "Content-Length: 10\r\nContent-Length: 10\r\n", "Content-Length: 10, 10\r\n"]
    {
        assert_eq!(declared(fields, Length::Known(10)), "Content-Length: 10\r\n");
    }
    assert_eq!(declared("A: b\r\n", Length::Known(u64::MAX)), "A: b\r\nContent-Length: 18446744073709551615\r\n");
    assert_eq!(declared("", Length::Known(0)), "Content-Length: 0\r\n");
}

#[test]
fn a_canonical_declaration_stays_where_it_is() {
    let fields = "content-length:10\r\nA: b\r\n";
    assert_eq!(declared(fields, Length::Known(10)), fields);
    let fields = "transfer-encoding: chunked\r\nA: b\r\n";
    assert_eq!(declared(fields, Length::Chunked), fields);
}

#[test]
fn a_head_is_never_written_with_both_or_another_declaration() {
    let both = "Content-Length: 10\r\nTransfer-Encoding: chunked\r\n";
    assert_eq!(declared(both, Length::Chunked), "Transfer-Encoding: chunked\r\n");
    assert_eq!(declared(both, Length::Known(10)), "Content-Length: 10\r\n");
    assert_eq!(declared(both, Length::Known(9)), "Content-Length: 9\r\n");
    assert_eq!(declared(both, Length::Undeclared), "");
    assert_eq!(declared("Content-Length: 10\r\n", Length::Chunked), "Transfer-Encoding: chunked\r\n");
}
