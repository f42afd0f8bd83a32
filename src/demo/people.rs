//! A list of people, served twice: by a monolith, and by the service that is to take its place.
//!
//! Both answer `/users` and `/users/N` in JSON, from the same data. What differs is what a migration is about: when a
//! person was last changed is another moment in each answer, and the new service writes one telephone number otherwise
//! until it is told that somebody has fixed that.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// The people; the first is number 1.
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

/// Whose telephone number the new service writes otherwise.
const MISTAKEN: usize = 7;

/// Which of the two services it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edition {
    /// The monolith.
    Legacy,
    /// The new service, with its mistake.
    New,
    /// The new service, after somebody has fixed it.
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

/// What it says to GET of this path, as JSON; `None`: the path is none of its own, or nobody has that number.
pub(super) fn tell(edition: Edition, path: &str) -> Option<Vec<u8>> {
    let below = path.strip_prefix("/users")?;
    if matches!(below, "" | "/") {
        let users = (1..).zip(NAMES).map(|(id, name)| person(edition, id, name)).collect();
        return serde_json::to_vec(&People { users }).ok();
    }
    let id: usize = below.strip_prefix('/')?.parse().ok()?;
    let name = NAMES.get(id.checked_sub(1)?)?;
    serde_json::to_vec(&person(edition, id, name)).ok()
}

fn person(edition: Edition, id: usize, name: &'static str) -> Person {
    let phone = match edition {
        Edition::New if id == MISTAKEN => format!("020 7946 {id:04}"),
        Edition::Legacy | Edition::New | Edition::Fixed => format!("+44 20 7946 {id:04}"),
    };
    // A clock before 1970 is nothing to fail for.
    let updated_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    Person { id, name, phone, updated_at }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn told(edition: Edition, path: &str) -> Value {
        let mut told: Value = serde_json::from_slice(&tell(edition, path).unwrap()).unwrap();
        if let Some(person) = told.as_object_mut() {
            person.remove("updated_at");
        }
        told
    }

    #[test]
    fn both_services_know_the_same_people_but_for_one_telephone_number() {
        for id in 1..=NAMES.len() {
            let path = format!("/users/{id}");
            let same = told(Edition::Legacy, &path) == told(Edition::New, &path);
            assert_eq!(same, id != MISTAKEN, "{path}");
            assert_eq!(told(Edition::Legacy, &path), told(Edition::Fixed, &path));
        }
        assert_eq!(told(Edition::New, "/users")["users"].as_array().unwrap().len(), NAMES.len());
    }

    #[test]
    fn nobody_has_another_number() {
        for path in ["/users/0", "/users/11", "/users/-1", "/users/x", "/users/1/x", "/usersx", "/notes/1"] {
            assert_eq!(tell(Edition::Legacy, path), None, "{path}");
        }
    }
}
