//! One frame's payload, corrected in place: no length ever changes.

/// Deeper than any message needs, and as deep as headers have a text form.
const MAX_DEPTH: usize = 64;
const REPLACEMENT: u8 = b'?';

/// Class basic (AMQP 0-9-1, 1.8).
const BASIC: u16 = 60;
const RETURN: u16 = 50;
const DELIVER: u16 = 60;
const GET_OK: u16 = 71;

/// The properties in their order on the wire, the first by the highest bit of the flags.
const PROPERTIES: [Property; 14] = [
    Property::Short,    // content-type
    Property::Short,    // content-encoding
    Property::Table,    // headers
    Property::Fixed(1), // delivery-mode
    Property::Fixed(1), // priority
    Property::Short,    // correlation-id
    Property::Short,    // reply-to
    Property::Short,    // expiration
    Property::Short,    // message-id
    Property::Fixed(8), // timestamp
    Property::Short,    // type
    Property::Short,    // user-id
    Property::Short,    // app-id
    Property::Short,    // cluster-id
];

#[derive(Clone, Copy)]
enum Property {
    Short,
    Table,
    Fixed(usize),
}

/// Not laid out as the specification says. What is left of the frame stays as it is: the library
/// has its own opinion of it.
pub(super) struct Malformed;

type Result<T = ()> = std::result::Result<T, Malformed>;

/// A place in a payload.
struct Cursor<'a> {
    bytes: &'a mut [u8],
    at: usize,
    changed: bool,
}

/// Corrects the payload of a method frame; `true` where something was replaced.
pub(super) fn method(payload: &mut [u8]) -> Result<bool> {
    let mut cursor = Cursor::new(payload);
    if cursor.u16()? != BASIC {
        return Ok(false);
    }
    match cursor.u16()? {
        DELIVER => {
            cursor.short()?;
            cursor.skip(9)?;
        }
        RETURN => {
            cursor.skip(2)?;
            cursor.short()?;
        }
        GET_OK => cursor.skip(9)?,
        _ => return Ok(false),
    }
    // Exchange and routing key.
    cursor.short()?;
    cursor.short()?;
    Ok(cursor.changed)
}

/// Corrects the payload of a content header frame; `true` where something was replaced.
pub(super) fn header(payload: &mut [u8]) -> Result<bool> {
    let mut cursor = Cursor::new(payload);
    // Class, weight and body size.
    cursor.skip(12)?;
    let flags = cursor.u16()?;
    for (place, property) in PROPERTIES.into_iter().enumerate() {
        if flags & (1 << (15 - place)) == 0 {
            continue;
        }
        match property {
            Property::Short => cursor.short()?,
            Property::Table => cursor.table(0)?,
            Property::Fixed(length) => cursor.skip(length)?,
        }
    }
    Ok(cursor.changed)
}

// === impl Cursor ===

impl<'a> Cursor<'a> {
    fn new(bytes: &'a mut [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            changed: false,
        }
    }

    fn take(&mut self, length: usize) -> Result<&mut [u8]> {
        let end = self.at.checked_add(length).ok_or(Malformed)?;
        let taken = self.bytes.get_mut(self.at..end).ok_or(Malformed)?;
        self.at = end;
        Ok(taken)
    }

    fn skip(&mut self, length: usize) -> Result {
        self.take(length).map(|_| ())
    }

    fn u8(&mut self) -> Result<u8> {
        self.take(1)?.first().copied().ok_or(Malformed)
    }

    fn u16(&mut self) -> Result<u16> {
        Ok(u16::from(self.u8()?) << 8 | u16::from(self.u8()?))
    }

    /// A length of 32 bits, and that much must be there.
    fn length(&mut self) -> Result<usize> {
        let length = u32::from(self.u16()?) << 16 | u32::from(self.u16()?);
        usize::try_from(length).map_err(|_| Malformed)
    }

    fn short(&mut self) -> Result {
        let length = usize::from(self.u8()?);
        let text = self.take(length)?;
        if std::str::from_utf8(text).is_err() {
            for byte in text.iter_mut().filter(|byte| !byte.is_ascii()) {
                *byte = REPLACEMENT;
            }
            self.changed = true;
        }
        Ok(())
    }

    fn table(&mut self, depth: usize) -> Result {
        let length = self.length()?;
        let end = self.at.checked_add(length).ok_or(Malformed)?;
        while self.at < end {
            self.short()?;
            self.value(depth)?;
        }
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Result {
        let length = self.length()?;
        let end = self.at.checked_add(length).ok_or(Malformed)?;
        while self.at < end {
            self.value(depth)?;
        }
        Ok(())
    }

    /// A field value. The types are RabbitMQ's, which differ from the specification's.
    fn value(&mut self, depth: usize) -> Result {
        let at = self.at;
        match self.u8()? {
            b'V' => Ok(()),
            b't' | b'b' | b'B' => self.skip(1),
            b's' | b'U' | b'u' => self.skip(2),
            b'I' | b'i' | b'f' => self.skip(4),
            b'D' => self.skip(5),
            b'L' | b'l' | b'd' | b'T' => self.skip(8),
            b'S' | b'x' => {
                let length = self.length()?;
                self.skip(length)
            }
            b'A' | b'F' if depth >= MAX_DEPTH => {
                let length = self.length()?;
                self.skip(length)?;
                // Tables, arrays and byte arrays are laid out alike: a length and the content.
                *self.bytes.get_mut(at).ok_or(Malformed)? = b'x';
                self.changed = true;
                Ok(())
            }
            b'A' => self.array(depth + 1),
            b'F' => self.table(depth + 1),
            _ => Err(Malformed),
        }
    }
}
