//! Which lock is meant. A pure function of what was asked and the locks that there are.

use super::Refusal;
use crate::domain::Name;

/// Returns the lock that is meant among `locks`, those of `intercom` or, without one, all there are: the one on `panel`,
/// or the only one.
///
/// # Errors
/// [`Refusal::NoLock`], [`Refusal::UnknownPanel`] or [`Refusal::AmbiguousPanel`].
pub(super) fn choose(locks: &[Name], panel: Option<&str>, intercom: Option<u64>) -> Result<Name, Refusal> {
    match (panel, locks) {
        (_, []) => Err(Refusal::NoLock { intercom }),
        (None, [only]) => Ok(only.clone()),
        (None, _) => Err(Refusal::AmbiguousPanel { intercom, locks: locks.to_vec() }),
        (Some(panel), _) => {
            let found = locks.iter().find(|lock| lock.as_str() == panel).cloned();
            found.ok_or_else(|| Refusal::UnknownPanel { intercom, locks: locks.to_vec() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ErrorCode;

    #[test]
    fn the_only_lock_is_meant_and_several_have_to_be_named() {
        let chosen = |locks: &[&str], panel: Option<&str>| {
            let locks: Vec<_> = locks.iter().map(|name| Name::new(name).unwrap()).collect();
            choose(&locks, panel, Some(1)).map(|name| name.to_string()).map_err(|refusal| refusal.code())
        };
        assert_eq!(chosen(&["a"], None), Ok("a".into()));
        assert_eq!(chosen(&["a"], Some("a")), Ok("a".into()));
        assert_eq!(chosen(&["a", "b"], Some("b")), Ok("b".into()));
        assert_eq!(chosen(&["a", "b"], None), Err(ErrorCode::AmbiguousPanel));
        // Of another intercom, without a lock, or no name at all.
        for other in ["c", "A", "", "a b"] {
            assert_eq!(chosen(&["a"], Some(other)), Err(ErrorCode::UnknownPanel));
        }
        assert_eq!(chosen(&[], None), Err(ErrorCode::UnknownPanel));
        assert_eq!(chosen(&[], Some("a")), Err(ErrorCode::UnknownPanel));
    }
}
