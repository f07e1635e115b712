//! What `docs/recipe.md` shows works, and it leaves no key out.

use super::{schema::keys, *};

const DOCS: &str = include_str!("../../../../../../docs/recipe.md");

#[test]
fn every_example_of_the_docs_is_a_recipe_s() {
    let mut count = 0;
    for example in DOCS.split("```toml\n").skip(1).map(|rest| rest.split("\n```").next().unwrap()) {
        // An example shows a part: the rest of a recipe is put around it.
        let mut text = example.to_owned();
        for (part, rest) in [
            ("[base]", "\n[base]\nimage = \"ami-0123456789abcdef0\"\n"),
            ("[promote]", "\n[promote]\nchannel = \"production\"\n"),
            ("[[test]]", "\n[[test]]\nport = 80\n"),
        ] {
            if !text.contains(part) {
                text.push_str(rest);
            }
        }
        if !text.contains("pipeline =") {
            text.insert_str(0, "pipeline = \"shop\"\n");
        }
        parse(&text);
        count += 1;
    }
    assert!(count > 15, "{count} examples");
}

#[test]
fn every_key_is_in_the_docs() {
    for key in keys(&Recipe::schema()) {
        let (_, word) = key.split_once('.').unwrap();
        let written = ["`", ".", "[", " "].iter().any(|before| {
            ["`", "]", " = "].iter().any(|after| DOCS.contains(&format!("{before}{word}{after}")))
        });
        assert!(written, "{key} is in no line of docs/recipe.md");
    }
}

/// A default in the docs, the schema and the parser is one and the same.
#[test]
fn the_documented_defaults_are_the_parser_s() {
    let small =
        parse("pipeline='a'\nbase={image='ami-0123456789abcdef0'}\npromote={channel='c'}\ntest=[{port=1}]");
    let told = parse(
        "pipeline='a'\nbase={image='ami-0123456789abcdef0'}\npromote={channel='c'}\n\
         test=[{port=1, name='1 port', within='30s'}]\n\
         builder={instance-types=['m7i.large', 'm6i.large'], spot=false}\nvalidate={boot=false}\n\
         retain={newest=5, days=30}\n\
         deadlines={builder='30m', validation='15m', imaging='60m', promotion='5m'}",
    );
    assert_eq!(small, told);
}
