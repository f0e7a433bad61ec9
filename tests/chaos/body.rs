//! Bodies that say whose they are, and whether they are whole.

/// Binary, of `size` bytes after its head; nothing in it could be another id's.
pub fn body_of(id: &str, size: usize) -> Vec<u8> {
    let mut body = format!("{id} {size}\n").into_bytes();
    body.extend(filler(id).take(size));
    body
}

/// Whose body it is.
///
/// # Errors
/// What is wrong with it.
pub fn id_of(body: &[u8]) -> Result<String, String> {
    let end = body.iter().position(|byte| *byte == b'\n');
    let head = body.get(..end.unwrap_or_default()).unwrap_or_default();
    let head = std::str::from_utf8(head).unwrap_or_default();
    let parsed = head.split_once(' ');
    let Some((id, Ok(size))) = parsed.map(|(id, size)| (id, size.parse::<usize>())) else {
        return Err(format!("a body of {} bytes without an id", body.len()));
    };
    if body == body_of(id, size) {
        Ok(id.to_owned())
    } else {
        Err(format!("the body of {id} is not as it was sent"))
    }
}

fn filler(id: &str) -> impl Iterator<Item = u8> {
    let seed = id.bytes().fold(17_u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u32::from(byte))
    });
    let mut state = seed | 1;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
}
