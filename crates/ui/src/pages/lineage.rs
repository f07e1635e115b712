//! What the channels' images stand on, as a graph, and as a table for who does not see the graph.

use std::collections::BTreeMap;

use maud::{Markup, html};
use ovenbird_core::{
    domain::{id::AmiId, plain::plain_line},
    views::status::PipelineStatus,
};

use super::{
    layout::{self, Body, View},
    overview,
};
use crate::{Account, Reader, site::Page};

const WIDTH: usize = 230;
const HEIGHT: usize = 44;
const GAP: (usize, usize) = (90, 16);

/// So many characters of a label are shown; so many fit in any usual font.
const MOST: usize = 32;
const FITS: usize = 22;

/// An image in the graph.
#[derive(Debug)]
struct Node {
    /// What it is, in words.
    label: String,
    /// Where more is said; none for an image that isn't ours.
    page: Option<Page>,
    /// How many images it stands on.
    layer: usize,
}

/// The graph.
#[derive(Debug, Default)]
struct Graph {
    nodes: BTreeMap<AmiId, Node>,
    /// From the base to what stands on it, and whether that is outdated.
    edges: BTreeMap<(AmiId, AmiId), bool>,
}

impl Graph {
    fn of(all: &[PipelineStatus]) -> Self {
        let mut graph = Self::default();
        for one in all {
            for channel in &one.channels {
                let Some(current) = &channel.current else { continue };
                let page = Page::Bake(one.pipeline.clone(), current.bake.clone());
                let label = format!("{}/{}", one.pipeline, channel.channel);
                let node = graph.nodes.entry(current.image.clone());
                node.and_modify(|node| node.label = format!("{}, {label}", node.label)).or_insert(Node {
                    label,
                    page: Some(page),
                    layer: 0,
                });
                if let Some(base) = &current.base {
                    let outdated = current.behind == Some(true);
                    graph.edges.insert((base.image.clone(), current.image.clone()), outdated);
                }
            }
        }
        // The bases come last: what a channel points at is told as that.
        for one in all {
            for current in one.channels.iter().filter_map(|channel| channel.current.as_ref()) {
                let Some(base) = &current.base else { continue };
                let parent = base.parent.as_ref();
                graph.nodes.entry(base.image.clone()).or_insert_with(|| Node {
                    label: parent.map_or_else(
                        || base.name.clone(),
                        |parent| format!("{}/{}, before", parent.pipeline, parent.channel),
                    ),
                    page: parent.map(|parent| Page::Bake(parent.pipeline.clone(), parent.bake.clone())),
                    layer: 0,
                });
            }
        }
        graph.layers();
        graph
    }

    /// Puts every image right of what it stands on. A circle can't be, and would end with the number of images.
    fn layers(&mut self) {
        for _ in 0..self.nodes.len() {
            let mut moved = false;
            for (from, to) in self.edges.keys() {
                let least = self.nodes.get(from).map_or(0, |node| node.layer + 1);
                if let Some(node) = self.nodes.get_mut(to).filter(|node| node.layer < least) {
                    node.layer = least;
                    moved = true;
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// Where each image is drawn: layer by layer, and in a layer near what it stands on.
    fn places(&self) -> BTreeMap<&AmiId, (usize, usize)> {
        let mut places: BTreeMap<&AmiId, (usize, usize)> = BTreeMap::new();
        let deepest = self.nodes.values().map(|node| node.layer).max().unwrap_or(0);
        for layer in 0..=deepest {
            let mut own: Vec<_> = self.nodes.iter().filter(|(_, node)| node.layer == layer).collect();
            own.sort_by_key(|(image, node)| {
                let bases = self.edges.keys().filter(|(_, to)| to == *image);
                let row = bases.filter_map(|(from, _)| places.get(from)).map(|(_, y)| *y).min();
                (row, node.label.clone())
            });
            for (row, (image, _)) in own.into_iter().enumerate() {
                places.insert(image, (layer * (WIDTH + GAP.0), row * (HEIGHT + GAP.1)));
            }
        }
        places
    }
}

pub async fn body<A: Account>(reader: &Reader<A>, view: &View<'_>) -> Body {
    let snapshot = reader.snapshot(view.now).await;
    let graph = Graph::of(&snapshot.pipelines);
    let outdated = graph.edges.values().filter(|outdated| **outdated).count();
    let content = html! {
        (layout::problems(view, &snapshot.problems))
        @if graph.nodes.is_empty() {
            (layout::nothing(&snapshot.problems, &html! { "Nothing is promoted yet." }))
        } @else {
            p { "What each channel points at, right of what it stands on. "
                @if outdated > 0 { strong { (outdated) @if outdated == 1 { " stands" } @else { " stand" } " on an older base" } " (dashed and red)." } @else { "All stand on their newest base." } }
            div.scroll role="region" aria-label="Lineage as a graph" tabindex="0" { (svg(view, &graph)) }
            h2 { "The same as a table" }
            (table(view, &snapshot.pipelines))
        }
    };
    Body::new(view.page.title(), content)
}

fn svg(view: &View<'_>, graph: &Graph) -> Markup {
    let places = graph.places();
    let (width, height) =
        places.values().fold((0, 0), |(x, y), place| (x.max(place.0 + WIDTH), y.max(place.1 + HEIGHT)));
    let node = |image: &AmiId, node: &Node, (x, y): (usize, usize)| {
        let label = short(&plain_line(&node.label), MOST);
        // Nobody knows how wide a reader's font is: a long label is made to fit.
        let squeezed = (label.chars().count() > FITS).then_some(WIDTH - 20);
        html! {
            rect.node x=(x + 1) y=(y + 1) width=(WIDTH - 2) height=(HEIGHT - 2) rx="6" {}
            text x=(x + 10) y=(y + 18) textLength=[squeezed] lengthAdjust=[squeezed.map(|_| "spacingAndGlyphs")] { (label) }
            text.id x=(x + 10) y=(y + 35) { (image) }
            title { (plain_line(&node.label)) " " (image) }
        }
    };
    html! {
        svg.graph width=(width) height=(height) viewBox=(format!("0 0 {width} {height}")) role="group" aria-label="What stands on what" {
            @for ((from, to), outdated) in &graph.edges {
                @if let (Some((x1, y1)), Some((x2, y2))) = (places.get(from), places.get(to)) {
                    path class=(if *outdated { "edge outdated" } else { "edge" })
                        d=(curve((x1 + WIDTH, y1 + HEIGHT / 2), (*x2, y2 + HEIGHT / 2))) {}
                }
            }
            @for (image, one) in &graph.nodes {
                @if let Some(place) = places.get(image) {
                    @match &one.page {
                        Some(page) => { a href=(page.href(view.form, view.page)) { (node(image, one, *place)) } }
                        None => { g { (node(image, one, *place)) } }
                    }
                }
            }
        }
    }
}

fn curve((x1, y1): (usize, usize), (x2, y2): (usize, usize)) -> String {
    let middle = usize::midpoint(x1, x2);
    format!("M{x1} {y1} C{middle} {y1} {middle} {y2} {x2} {y2}")
}

fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most - 1).collect();
    format!("{kept}…")
}

fn table(view: &View<'_>, all: &[PipelineStatus]) -> Markup {
    let rows = html! {
        @for one in all { @for channel in &one.channels { @if let Some(current) = &channel.current {
            tr class=[(current.behind == Some(true)).then_some("bad")] {
                th scope="row" { (view.link(&Page::Pipeline(one.pipeline.clone()), &format!("{}/{}", one.pipeline, channel.channel))) }
                td { code { (current.image) } }
                td { @if let Some(base) = &current.base { code { (base.image) } " " (plain_line(&base.name)) } }
                td { (overview::base(current.behind)) }
                td { @if current.behind == Some(true) { (view.command(&format!("ovenbird bake {}", one.pipeline))) } }
            }
        } } }
    };
    html! {
        (layout::table("What stands on what", &["Channel", "Image", "Stands on", "Base", "Command"], &rows))
        p { "What stands on an image, with older images: " (view.command("ovenbird lineage IMAGE --down")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_stands_right_of_what_it_stands_on() {
        let image = |number: u8| format!("ami-0000000{number}").parse::<AmiId>().unwrap();
        let node = |label: &str| Node { label: label.into(), page: None, layer: 0 };
        let mut graph = Graph {
            nodes: BTreeMap::from([
                (image(1), node("app")),
                (image(2), node("runtime")),
                (image(3), node("base")),
            ]),
            edges: BTreeMap::from([((image(2), image(1)), true), ((image(3), image(2)), false)]),
        };
        graph.layers();
        let places = graph.places();
        assert!(places[&image(3)].0 < places[&image(2)].0 && places[&image(2)].0 < places[&image(1)].0);
        // A circle, which can't be, ends.
        graph.edges.insert((image(1), image(3)), false);
        graph.layers();
    }
}
