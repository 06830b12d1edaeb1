//! The reader by hand and the one by derive say the same of the same texts.

use super::{canonical_hash, generated, parse, read};

#[test]
fn the_readers_agree() {
    let cases = std::env::var("CASES").map_or(2000, |cases| cases.parse().unwrap());
    let (mut accepted, mut told_alike) = (0_u64, 0_u64);
    for seed in 0..cases {
        let text = generated::document(seed).text;
        match (parse::parse_flat(&text), read::parse_flat(&text)) {
            (Ok(old), Ok(new)) => {
                assert_eq!(old, new, "seed {seed}: {text:.3000}");
                assert_eq!(canonical_hash(&old), canonical_hash(&new));
                accepted += 1;
            }
            (Err(old), Err(new)) => {
                told_alike += u64::from(old == new);
            }
            (old, new) => panic!("seed {seed}: {:?} {:?} {text:.3000}", old.err(), new.err()),
        }
    }
    println!(
        "{cases} documents: {accepted} accepted by both, {} refused by both, {told_alike} of them in the same words",
        cases - accepted
    );
}
