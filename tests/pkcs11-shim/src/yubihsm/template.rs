//! A copy of a caller's template: owned, so that what is refused and translated is decided in safe code.
#![allow(unsafe_code, reason = "reads a C array of attributes")]

use std::ffi::c_void;

use cryptoki_sys::{
    CK_ATTRIBUTE, CK_ATTRIBUTE_TYPE, CK_BBOOL, CK_OBJECT_CLASS, CK_TRUE, CK_ULONG, CKA_CLASS, CKA_ID, CKA_TOKEN,
};

/// Attribute types and values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Template(Vec<(CK_ATTRIBUTE_TYPE, Vec<u8>)>);

impl Template {
    /// Copies a C template. Null values are taken as empty.
    ///
    /// # Safety
    /// `attributes` is null or leads to `count` attributes, each with a value of its length or a null one.
    pub(crate) unsafe fn copy(attributes: *const CK_ATTRIBUTE, count: CK_ULONG) -> Self {
        let count = usize::try_from(count).unwrap_or(0);
        if attributes.is_null() || count == 0 {
            return Self::default();
        }
        // SAFETY: the caller's promise.
        let attributes = unsafe { std::slice::from_raw_parts(attributes, count) };
        let value = |attribute: &CK_ATTRIBUTE| match usize::try_from(attribute.ulValueLen) {
            Ok(len) if len > 0 && !attribute.pValue.is_null() => {
                // SAFETY: the caller's promise, for this value.
                unsafe { std::slice::from_raw_parts(attribute.pValue.cast::<u8>(), len) }.to_vec()
            }
            _ => Vec::new(),
        };
        Self(attributes.iter().map(|attribute| (attribute.type_, value(attribute))).collect())
    }

    /// A place into which a module writes an object's class.
    pub(crate) fn class() -> Self {
        Self::of_class(CK_OBJECT_CLASS::MAX)
    }

    /// The token objects of a class.
    pub(crate) fn of_class(class: CK_OBJECT_CLASS) -> Self {
        let mut template = Self::default();
        template.set_number(CKA_CLASS, class);
        if class != CK_OBJECT_CLASS::MAX {
            template.set_flag(CKA_TOKEN, CK_TRUE);
        }
        template
    }

    /// The objects of a class that bear this template's id, if it has one.
    pub(crate) fn same_id(&self, class: CK_OBJECT_CLASS) -> Option<Self> {
        let id = self.get(CKA_ID)?;
        let mut template = Self::of_class(class);
        template.0.push((CKA_ID, id.to_vec()));
        Some(template)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (CK_ATTRIBUTE_TYPE, &[u8])> {
        self.0.iter().map(|(kind, value)| (*kind, value.as_slice()))
    }

    pub(crate) fn get(&self, kind: CK_ATTRIBUTE_TYPE) -> Option<&[u8]> {
        self.iter().find(|(other, _)| *other == kind).map(|(_, value)| value)
    }

    /// A value of the size of a `CK_ULONG`.
    pub(crate) fn number(&self, kind: CK_ATTRIBUTE_TYPE) -> Option<CK_ULONG> {
        self.get(kind)?.try_into().ok().map(CK_ULONG::from_ne_bytes)
    }

    pub(crate) fn set_number(&mut self, kind: CK_ATTRIBUTE_TYPE, value: CK_ULONG) {
        self.set(kind, value.to_ne_bytes().to_vec());
    }

    pub(crate) fn set_flag(&mut self, kind: CK_ATTRIBUTE_TYPE, value: CK_BBOOL) {
        self.set(kind, vec![value]);
    }

    /// Sets a flag that the caller left out.
    pub(crate) fn default_flag(&mut self, kind: CK_ATTRIBUTE_TYPE, value: CK_BBOOL) {
        if self.get(kind).is_none() {
            self.set_flag(kind, value);
        }
    }

    fn set(&mut self, kind: CK_ATTRIBUTE_TYPE, value: Vec<u8>) {
        self.0.retain(|(other, _)| *other != kind);
        self.0.push((kind, value));
    }

    /// The template for a C call. It leads into `self`, which must live through the call.
    pub(crate) fn raw(&mut self) -> Vec<CK_ATTRIBUTE> {
        let raw = |(kind, value): &mut (CK_ATTRIBUTE_TYPE, Vec<u8>)| CK_ATTRIBUTE {
            type_: *kind,
            pValue: value.as_mut_ptr().cast::<c_void>(),
            ulValueLen: value.len() as CK_ULONG,
        };
        self.0.iter_mut().map(raw).collect()
    }
}
