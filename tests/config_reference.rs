//! `docs/config.md` is up to date with the declarations of the keys.

use std::path::Path;

use forebay::config::reference::reference;

#[test]
fn the_reference_of_keys_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/config.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, reference()).unwrap();
    }
    let page = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(page == reference(), "docs/config.md is stale; renew it with: UPDATE=1 cargo test --test config_reference");
}

#[test]
fn the_example_is_fine() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.toml");
    let plan = forebay::config::load(&path).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!((plan.routes.len(), plan.upstreams.len()), (9, 8));
}
