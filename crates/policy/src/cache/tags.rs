//! Limits the number and length of a response's tags; a response that exceeds them is not stored.
//!
//! Stateless: a stored response has its tags in its head.

/// The limits on the tags of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagLimits {
    /// The most different tags.
    pub tags_max: usize,
    /// The longest tag, in bytes.
    pub tag_bytes_max: usize,
}

/// Why the tags of an entry were rejected.
///
/// All are rejected: an entry without one of its tags would survive a purge of that tag, so it is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TagsRefused {
    /// There are too many different tags.
    #[error("more than {tags_max} tags")]
    TooMany {
        /// The limit.
        tags_max: usize,
    },
    /// A tag is too long.
    #[error("a tag of {bytes} bytes is longer than {tag_bytes_max}")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        tag_bytes_max: usize,
    },
}

/// Checks an entry's tags against the limits. Empty tags and duplicates do not count. Stops as soon as there are too
/// many.
///
/// # Errors
/// [`TagsRefused`] if a limit is exceeded.
pub fn admit<'t>(tags: impl IntoIterator<Item = &'t str>, limits: TagLimits) -> Result<(), TagsRefused> {
    let TagLimits { tags_max, tag_bytes_max } = limits;
    let mut admitted = Vec::new();
    for tag in tags.into_iter().filter(|tag| !tag.is_empty()) {
        if tag.len() > tag_bytes_max {
            return Err(TagsRefused::TooLong { bytes: tag.len(), tag_bytes_max });
        }
        if let Err(place) = admitted.binary_search(&tag) {
            if admitted.len() >= tags_max {
                return Err(TagsRefused::TooMany { tags_max });
            }
            admitted.insert(place, tag);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: TagLimits = TagLimits { tags_max: 3, tag_bytes_max: 8 };

    #[test]
    fn tags_beyond_the_bounds_are_refused() {
        assert_eq!(admit(["a", "b", "12345678"], LIMITS), Ok(()));
        assert_eq!(admit(["a", "b", "c", "d"], LIMITS), Err(TagsRefused::TooMany { tags_max: 3 }));
        assert_eq!(admit(["123456789"], LIMITS), Err(TagsRefused::TooLong { bytes: 9, tag_bytes_max: 8 }));
    }

    #[test]
    fn repetitions_and_empty_tags_do_not_count() {
        assert_eq!(admit(["a", "", "a", "b", "a", "c", "b"], LIMITS), Ok(()));
        assert_eq!(admit([], LIMITS), Ok(()));
    }

    #[test]
    fn an_endless_list_of_tags_is_read_only_until_it_is_too_long() {
        assert_eq!(admit(["a", "b", "c", "d"].into_iter().cycle(), LIMITS), Err(TagsRefused::TooMany { tags_max: 3 }));
    }
}
