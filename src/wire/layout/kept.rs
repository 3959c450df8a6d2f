//! What a connection is known by: fields of an earlier frame, of a login mostly.

use std::sync::Arc;

use super::form::{Declared, Layout, Made, Shape};
use super::format;
use super::place::View;
use super::template::{Named, Refusal};

/// The longest value that is kept, in bytes.
pub(super) const KEPT_VALUE_MAX: usize = 255;
/// The most fields that a layout keeps.
pub(super) const KEPT_MAX: usize = 16;

/// The kept fields of one connection: nothing until a frame sets one, then one allocation. Cheap to clone.
///
/// Entries follow each other: slot, shape and field that set it, two bytes each of these, the length, the bytes. Of a
/// format in code it is whatever that keeps.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Kept(Option<Arc<[u8]>>);

/// What comes before the bytes of an entry.
const HEAD: usize = 6;

/// A kept value, and the field that it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub slot: u8,
    pub shape: u16,
    pub field: u16,
    pub bytes: &'a [u8],
}

impl Kept {
    /// Bytes that it takes beside itself.
    pub fn size(&self) -> usize {
        // An `Arc` has two counters.
        self.0.as_ref().map_or(0, |bytes| bytes.len() + 2 * size_of::<usize>())
    }

    /// The most that [`size`](Self::size) is for a layout.
    pub fn size_max(layout: &Layout) -> usize {
        let bytes = match &layout.made {
            Made::Declared(declared) => declared.kept.len() * (HEAD + KEPT_VALUE_MAX),
            Made::Code(_) => format::KEPT_BYTES_MAX,
        };
        bytes + 2 * size_of::<usize>()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// What a format in code keeps, as it is.
    pub(super) fn of(bytes: &[u8]) -> Kept {
        Kept((!bytes.is_empty()).then(|| bytes.into()))
    }

    /// The values of the field with this name, as a topic shows it: as it stands, and a number without its leading zeros as
    /// well (`{imei}`, `{imei:int}`). None of what a format in code keeps.
    pub fn shown(&self, layout: &Layout, name: &str) -> Vec<String> {
        let Some(declared) = layout.declared() else { return Vec::new() };
        let Some(slot) = declared.kept.iter().position(|kept| &**kept == name) else { return Vec::new() };
        let Some(entry) = self.get(slot as u8) else { return Vec::new() };
        let place = &declared.shapes[usize::from(entry.shape)].fields[usize::from(entry.field)].place;
        let mut plain = Vec::new();
        if !place.kind.write(entry.bytes, place.mask, &mut plain) {
            return Vec::new();
        }
        let Ok(plain) = String::from_utf8(plain) else { return Vec::new() };
        let short = plain.trim_start_matches('0');
        let is_number = plain.bytes().all(|byte| byte.is_ascii_digit()) && !short.is_empty();
        let short = (is_number && short.len() < plain.len()).then(|| short.to_string());
        std::iter::once(plain).chain(short).collect()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut rest = self.0.as_deref().unwrap_or_default();
        std::iter::from_fn(move || {
            let (head, bytes) = rest.split_first_chunk::<HEAD>()?;
            let (bytes, next) = bytes.split_at(usize::from(head[5]));
            rest = next;
            let (shape, field) =
                (u16::from_le_bytes([head[1], head[2]]), u16::from_le_bytes([head[3], head[4]]));
            Some(Entry { slot: head[0], shape, field, bytes })
        })
    }

    pub(super) fn get(&self, slot: u8) -> Option<Entry<'_>> {
        self.entries().find(|entry| entry.slot == slot)
    }

    /// With what a frame of `shape` says. It is refused where a value is none of its type, is too long to be kept, or is
    /// not what a topic, a key or a reply of a later frame needs: else each of those would be refused for it.
    pub(super) fn with(
        &self,
        layout: &Declared,
        shape: usize,
        of: &Shape,
        view: &View<'_>,
    ) -> Result<Kept, Refusal> {
        let mut is_same = true;
        for &(slot, field) in &of.keep {
            let named = Named { shape: shape as u16, field };
            let raw = view.raw(field).ok_or(Refusal::Value(named))?;
            if raw.len() > KEPT_VALUE_MAX {
                return Err(Refusal::LongKept(named));
            }
            let entry = Entry { slot, shape: shape as u16, field, bytes: raw };
            if self.get(slot) != Some(entry) {
                is_same = false;
                entry.judge(layout)?;
            }
        }
        if is_same {
            return Ok(self.clone());
        }
        let mut bytes = Vec::new();
        let set = of.keep.iter().filter_map(|&(slot, field)| {
            Some(Entry { slot, shape: shape as u16, field, bytes: view.raw(field)? })
        });
        let others = self.entries().filter(|entry| of.keep.iter().all(|(slot, _)| *slot != entry.slot));
        for entry in others.chain(set) {
            let ([a, b], [c, d]) = (entry.shape.to_le_bytes(), entry.field.to_le_bytes());
            bytes.extend_from_slice(&[entry.slot, a, b, c, d, entry.bytes.len() as u8]);
            bytes.extend_from_slice(entry.bytes);
        }
        Ok(Kept(Some(bytes.into())))
    }
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kept({:02x?})", self.bytes())
    }
}
