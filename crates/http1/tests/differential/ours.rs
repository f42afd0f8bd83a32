//! What the codec makes of a message that ends with its connection.

use std::collections::BTreeMap;

use http1::{
    BodyDecoder, BodyLimits, Event, Framing, HeadLimits, RequestHead, ResponseHead, Version, request_framing,
    response_framing,
};
use message::{Lines, Method, View};

use super::{Message, insert};

pub(crate) fn request(bytes: &[u8]) -> Result<Message, String> {
    let mut head = RequestHead::default();
    let end = head.scan(bytes, &HeadLimits::default()).map_err(|error| error.to_string())?.ok_or("incomplete head")?;
    let framing = request_framing(&head, bytes).map_err(|error| error.to_string())?;
    let (method, target) = (head.method_span().of(bytes), head.target().of(bytes));
    let line = format!("{} {}", String::from_utf8_lossy(method), String::from_utf8_lossy(target));
    message(line, head.version(), head.view(bytes), framing, &bytes[end..])
}

pub(crate) fn response(bytes: &[u8], to_head: bool) -> Result<Message, String> {
    let mut head = ResponseHead::default();
    let end = head.scan(bytes, &HeadLimits::default()).map_err(|error| error.to_string())?.ok_or("incomplete head")?;
    let method = if to_head { Method::Head } else { Method::Get };
    let framing = response_framing(&head, bytes, method).map_err(|error| error.to_string())?;
    message(head.status().code().to_string(), head.version(), head.view(bytes), framing.framing, &bytes[end..])
}

fn message(line: String, version: Version, view: View<'_>, framing: Framing, body: &[u8]) -> Result<Message, String> {
    let mut message = Message {
        line,
        is_http_1_1: version == Version::Http11,
        fields: by_name(view),
        content: Vec::new(),
        trailers: BTreeMap::new(),
    };
    let (mut decoder, mut lines, mut input) =
        (BodyDecoder::new(framing, BodyLimits::default()), Lines::default(), body);
    loop {
        match decoder.decode(&mut input, &mut lines).map_err(|error| error.to_string())? {
            Event::Content(content) => message.content.extend_from_slice(content),
            Event::NeedsMore => {
                decoder.finish().map_err(|error| error.to_string())?;
                return Ok(message);
            }
            Event::End { trailers } => {
                message.trailers = by_name(lines.view(trailers));
                return Ok(message);
            }
        }
    }
}

fn by_name(view: View<'_>) -> BTreeMap<String, Vec<Vec<u8>>> {
    let mut fields = BTreeMap::new();
    view.all().for_each(|field| insert(&mut fields, field.name, field.value));
    fields
}
