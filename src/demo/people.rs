//! A list of people, served by the old and by the new service of a migration.
//!
//! Both answer `/users` and `/users/N` as JSON, from the same data, with the two kinds of differences that a mirror
//! finds: noise (`updated_at` is the current time in each response) and a bug (the new service formats one telephone
//! number differently, until its mode is `fixed`).

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// The names of the people; the first has id 1.
const NAMES: [&str; 10] = [
    "Ada Lovelace",
    "Annie Easley",
    "Barbara Liskov",
    "Frances Allen",
    "Grace Hopper",
    "Jean Bartik",
    "Karen Jones",
    "Margaret Hamilton",
    "Mary Keller",
    "Radia Perlman",
];

/// The id of the person whose telephone number the new service formats differently.
const MISFORMATTED_ID: usize = 7;

/// The version of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// The old service.
    Legacy,
    /// The new service, with the bug.
    New,
    /// The new service, without the bug.
    Fixed,
}

#[derive(Debug, Serialize)]
struct Person {
    id: usize,
    name: &'static str,
    phone: String,
    updated_at: u128,
}

#[derive(Debug, Serialize)]
struct People {
    users: Vec<Person>,
}

/// The JSON of a path; `None`: the path is not `/users` or below it, or no person has this id.
pub(super) fn response(version: Version, path: &str) -> Option<Vec<u8>> {
    let below = path.strip_prefix("/users")?;
    if matches!(below, "" | "/") {
        let users = (1..).zip(NAMES).map(|(id, name)| person(version, id, name)).collect();
        return serde_json::to_vec(&People { users }).ok();
    }
    let id: usize = below.strip_prefix('/')?.parse().ok()?;
    let name = NAMES.get(id.checked_sub(1)?)?;
    serde_json::to_vec(&person(version, id, name)).ok()
}

fn person(version: Version, id: usize, name: &'static str) -> Person {
    let phone = match version {
        Version::New if id == MISFORMATTED_ID => format!("020 7946 {id:04}"),
        Version::Legacy | Version::New | Version::Fixed => format!("+44 20 7946 {id:04}"),
    };
    // A system clock before 1970 counts as 1970.
    let updated_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    Person { id, name, phone, updated_at }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn told(version: Version, path: &str) -> Value {
        let mut told: Value = serde_json::from_slice(&response(version, path).unwrap()).unwrap();
        if let Some(person) = told.as_object_mut() {
            person.remove("updated_at");
        }
        told
    }

    #[test]
    fn both_services_know_the_same_people_but_for_one_telephone_number() {
        for id in 1..=NAMES.len() {
            let path = format!("/users/{id}");
            let same = told(Version::Legacy, &path) == told(Version::New, &path);
            assert_eq!(same, id != MISFORMATTED_ID, "{path}");
            assert_eq!(told(Version::Legacy, &path), told(Version::Fixed, &path));
        }
        assert_eq!(told(Version::New, "/users")["users"].as_array().unwrap().len(), NAMES.len());
    }

    #[test]
    fn nobody_has_another_number() {
        for path in ["/users/0", "/users/11", "/users/-1", "/users/x", "/users/1/x", "/usersx", "/notes/1"] {
            assert_eq!(response(Version::Legacy, path), None, "{path}");
        }
    }
}
