//! From the bytes of a record to the event they hold.
//!
//! Owns the variable part's layout on the way in. Works on a checked *copy* of a record (R8), yet trusts
//! nothing in it: a good checksum is no authentication.

use super::{
    INLINE, MAX_DICTIONARY_TEXT_BYTES, MAX_ID_BYTES, MAX_TAG_VALUE_BYTES, MAX_TAGS, MAX_TEXT_BYTES,
    bytes::Fields,
    dictionary::Names,
    encode::{
        FLAG_CALLER_ID, FLAG_EVENT_TIME, FLAG_LOSSY, FLAG_SCHEMA_BREACH, FLAG_SCHEMA_CHECKED,
        FLAG_SCHEMA_VERSION, FLAG_SOURCE, FLAG_TAGS, FORM_ABSENT, FORM_TEXT, FORM_UUID, SchemaCheck,
    },
    ids::{IdView, UuidBytes},
    record::{Codec, Fixed, RECORD_ALIGN, RECORD_FIXED_BYTES, RecordFault},
};

const KNOWN_FLAGS: u16 = FLAG_SOURCE
    | FLAG_SCHEMA_VERSION
    | FLAG_EVENT_TIME
    | FLAG_TAGS
    | FLAG_CALLER_ID
    | FLAG_LOSSY
    | FLAG_SCHEMA_CHECKED
    | FLAG_SCHEMA_BREACH;

/// An event as its record holds it; borrowed from the record's bytes and the segment's dictionary.
#[derive(Debug, Clone)]
pub struct RecordView<'a> {
    /// Position, time, aggregate chain.
    pub fixed: Fixed,
    /// Its type.
    pub event_type: &'a str,
    /// Its id.
    pub event_id: IdView<'a>,
    /// Whether the caller gave the id.
    pub is_caller_id: bool,
    /// Its aggregate.
    pub aggregate_id: Option<IdView<'a>>,
    /// Empty where none was given.
    pub source: &'a str,
    /// The conversation.
    pub correlation_id: Option<IdView<'a>>,
    /// The cause.
    pub causation_id: Option<IdView<'a>>,
    /// `None` means 1.0.0.
    pub schema_version: Option<&'a str>,
    /// The time it speaks of.
    pub event_time_ns: Option<i64>,
    /// Who wrote the payload.
    pub codec: Codec,
    /// A NaN or infinity became null.
    pub lossy: bool,
    /// Result of the schema check.
    pub schema: SchemaCheck,
    /// The stored bytes.
    pub payload: &'a [u8],
    tags: TagIter<'a>,
}

impl<'a> RecordView<'a> {
    /// Decodes a checked record of kind event; `fixed` is what [`Fixed::check`] said of the same bytes.
    ///
    /// # Errors
    /// [`RecordFault::Content`] and [`RecordFault::UnknownFlags`].
    pub fn parse(record: &'a [u8], fixed: Fixed, names: &'a Names) -> Result<Self, RecordFault> {
        let flags = known_flags(record)?;
        Self::decode(record, fixed, names, flags)
            .ok_or(RecordFault::Content("its variable part makes no sense"))
    }

    fn decode(record: &'a [u8], fixed: Fixed, names: &'a Names, flags: u16) -> Option<Self> {
        let mut fields = Fields::new(record.get(40..)?);
        let codec = Codec::of(fields.u8()?)?;
        let forms = fields.u8()?;
        fields.u16()?;
        let payload_bytes = usize::try_from(fields.u32()?).ok()?;
        let event_type = resolve(fixed.number, &mut fields, names)?;
        let event_id = take_id(&mut fields, forms)??;
        let aggregate_id = take_id(&mut fields, forms >> 2)?;
        let source = if flags & FLAG_SOURCE == 0 { "" } else { take_name(&mut fields, names)? };
        let correlation_id = take_id(&mut fields, forms >> 4)?;
        let causation_id = take_id(&mut fields, forms >> 6)?;
        let schema_version =
            if flags & FLAG_SCHEMA_VERSION == 0 { None } else { Some(take_name(&mut fields, names)?) };
        let event_time_ns = if flags & FLAG_EVENT_TIME == 0 { None } else { Some(fields.i64()?) };
        let tags = if flags & FLAG_TAGS == 0 {
            TagIter { fields: Fields::new(&[]), names, left: 0 }
        } else {
            TagIter::take(&mut fields, names)?
        };
        let payload = fields.take(payload_bytes)?;
        let padding = fields.rest();
        if padding.len() >= RECORD_ALIGN || padding.iter().any(|byte| *byte != 0) || event_type.is_empty() {
            return None;
        }
        let schema = match (flags & FLAG_SCHEMA_CHECKED != 0, flags & FLAG_SCHEMA_BREACH != 0) {
            (false, false) => SchemaCheck::Unchecked,
            (true, false) => SchemaCheck::Valid,
            (true, true) => SchemaCheck::Breach,
            (false, true) => return None,
        };
        Some(Self {
            fixed,
            event_type,
            event_id,
            is_caller_id: flags & FLAG_CALLER_ID != 0,
            aggregate_id,
            source,
            correlation_id,
            causation_id,
            schema_version,
            event_time_ns,
            codec,
            lossy: flags & FLAG_LOSSY != 0,
            schema,
            payload,
            tags,
        })
    }

    /// Position in the log.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.fixed.seq
    }

    /// Version within the aggregate; `None` without one.
    #[must_use]
    pub fn aggregate_version(&self) -> Option<u32> {
        self.aggregate_id.map(|_| self.fixed.aggregate_version)
    }

    /// Its tags, in the order they were given.
    #[must_use]
    pub fn tags(&self) -> TagIter<'a> {
        self.tags.clone()
    }
}

/// Iterator over tags; they were checked when the record was parsed.
#[derive(Clone)]
pub struct TagIter<'a> {
    fields: Fields<'a>,
    names: &'a Names,
    left: u16,
}

impl std::fmt::Debug for TagIter<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_map().entries(self.clone()).finish()
    }
}

impl<'a> TagIter<'a> {
    /// Walks over the tags once to check them, and keeps where they began.
    fn take(fields: &mut Fields<'a>, names: &'a Names) -> Option<Self> {
        let count = fields.u16()?;
        if count == 0 || usize::from(count) > MAX_TAGS {
            return None;
        }
        let tags = Self { fields: fields.clone(), names, left: count };
        for _ in 0..count {
            take_name(fields, names)?;
            fields.text(MAX_TAG_VALUE_BYTES)?;
        }
        Some(tags)
    }
}

impl<'a> Iterator for TagIter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let key = take_name(&mut self.fields, self.names)?;
        Some((key, self.fields.text(MAX_TAG_VALUE_BYTES)?))
    }
}

/// The flags of an event's record.
///
/// # Errors
/// [`RecordFault::UnknownFlags`]: nobody knows what else such a record holds, be it wanted or not (R2).
#[inline]
pub fn known_flags(record: &[u8]) -> Result<u16, RecordFault> {
    let flags = record.get(42..44).and_then(|bytes| Fields::new(bytes).u16()).unwrap_or(0);
    if flags & !KNOWN_FLAGS == 0 { Ok(flags) } else { Err(RecordFault::UnknownFlags(flags & !KNOWN_FLAGS)) }
}

/// The text of a dictionary record; `fixed` is what [`Fixed::check`] said of the same bytes.
///
/// # Errors
/// [`RecordFault::Content`].
pub fn dictionary_text(record: &[u8]) -> Result<&str, RecordFault> {
    let decode = || {
        let mut fields = Fields::new(record.get(40..)?);
        fields.u32()?;
        let length = usize::try_from(fields.u32()?).ok()?;
        let text = std::str::from_utf8(fields.take(length)?).ok()?;
        let is_tight = record.len() == (RECORD_FIXED_BYTES + length).next_multiple_of(RECORD_ALIGN);
        (is_tight && length <= MAX_DICTIONARY_TEXT_BYTES).then_some(text)
    };
    decode().ok_or(RecordFault::Content("its dictionary text makes no sense"))
}

fn resolve<'a>(number: u32, fields: &mut Fields<'a>, names: &'a Names) -> Option<&'a str> {
    if number == INLINE {
        return fields.text(MAX_TEXT_BYTES);
    }
    names.get(usize::try_from(number).ok()?)
}

fn take_name<'a>(fields: &mut Fields<'a>, names: &'a Names) -> Option<&'a str> {
    let number = fields.u32()?;
    resolve(number, fields, names)
}

/// `None`: the form is impossible or the bytes end; `Some(None)`: there is no such id.
#[expect(clippy::option_option, reason = "absent and impossible are two things")]
#[expect(clippy::inline_always, reason = "an id handed over in memory is waited for, four times a record")]
#[inline(always)]
fn take_id<'a>(fields: &mut Fields<'a>, form: u8) -> Option<Option<IdView<'a>>> {
    match form & 0b11 {
        FORM_ABSENT => Some(None),
        FORM_UUID => Some(Some(IdView::Uuid(UuidBytes(fields.uuid()?)))),
        FORM_TEXT => Some(Some(IdView::Text(fields.text(MAX_ID_BYTES)?))),
        _ => None,
    }
}
