//! Detects URLs of web pages that users paste instead of the address of a repository. Pure.

use url::Url;

use super::repos::GitProvider;
use crate::problem::Mistake;

/// A page of a hosting service, and the address to write instead.
#[derive(Debug, PartialEq)]
pub(super) struct WebPage {
    shown: String,
    /// The URL of the repository that the page belongs to.
    repository: String,
    /// The branch, tag or commit that the page shows. A branch name with a slash is cut at the slash.
    git_ref: Option<String>,
}

impl WebPage {
    /// Returns what is wrong, and what to write.
    pub(super) fn problem(&self) -> Mistake {
        let Self { shown, repository, git_ref } = self;
        let git_ref = git_ref.as_ref().map(|name| format!(" and `ref: {name}`")).unwrap_or_default();
        Mistake::new(
            format!("`{shown}` is a web page of a repository, and not its address"),
            format!("write `url: {repository}`{git_ref}"),
        )
    }
}

/// Parts of a URL path before a branch, a tag or a commit.
const PAGES: [&str; 4] = ["tree", "blob", "raw", "commit"];

/// Hosts that serve files, downloads or an API for repositories of another host: the host, the other host, the path before owner
/// and repository, and where the ref is.
const SATELLITES: [(&str, &str, &[&str], Ref); 7] = [
    ("raw.githubusercontent.com", "github.com", &[], Ref::Next),
    ("codeload.github.com", "github.com", &[], Ref::Last),
    ("github.dev", "github.com", &[], Ref::AfterPage),
    ("www.github.com", "github.com", &[], Ref::AfterPage),
    ("api.github.com", "github.com", &["repos"], Ref::None),
    ("vscode.dev", "github.com", &["github"], Ref::AfterPage),
    ("api.bitbucket.org", "bitbucket.org", &["2.0", "repositories"], Ref::None),
];

/// The position of a branch, a tag or a commit after owner and repository.
#[derive(Clone, Copy)]
enum Ref {
    /// The first part, possibly after `refs/heads` or `refs/tags`.
    Next,
    Last,
    /// After one of [`PAGES`].
    AfterPage,
    None,
}

/// The parts after `src` in URLs of Gitea and Forgejo.
const GITEA_KINDS: [&str; 3] = ["branch", "tag", "commit"];

/// Returns the web page of a URL. At the public hosts, every URL that is not a repository is a page. At other hosts, only these
/// paths are certain to be pages: `/-/` (GitLab), `src/branch`, `src/tag` or `src/commit` (Gitea, Forgejo), and `tree` or `blob`,
/// the last two after owner and repository.
pub(super) fn of(url: &Url) -> Option<WebPage> {
    if !matches!(url.scheme(), "https" | "http") {
        return None;
    }
    let provider = GitProvider::of_host(url.host_str()?);
    let parts: Vec<&str> = url.path_segments()?.filter(|part| !part.is_empty()).collect();
    if let Some(page) = of_satellite(url, &parts) {
        return Some(page);
    }
    let is_page_part = |index: usize| match parts[index] {
        "-" => index >= 2,
        "src" => index == 2 && parts.len() > 4 && GITEA_KINDS.contains(&parts[3]),
        part => index == 2 && parts.len() > 3 && ["tree", "blob"].contains(&part),
    };
    let repository_ends = match provider {
        Some(GitProvider::Github | GitProvider::Bitbucket) => 2,
        // Groups may be nested.
        Some(GitProvider::Gitlab) | None => (0..parts.len()).find(|index| is_page_part(*index)).unwrap_or(parts.len()),
        Some(GitProvider::AzureDevops) => {
            parts.iter().position(|part| *part == "_git").map_or(parts.len(), |index| index + 2)
        }
    };
    let has_extra = provider.is_some() && (url.query().is_some() || url.fragment().is_some());
    if parts.len() <= repository_ends && !has_extra {
        return None;
    }
    let bare = |path: &[&str]| {
        let mut bare = url.clone();
        let _ = (bare.set_username(""), bare.set_password(None));
        bare.set_query(None);
        bare.set_fragment(None);
        bare.set_path(&path.join("/"));
        bare.to_string()
    };
    let rest = parts.get(repository_ends..).unwrap_or_default();
    let rest = rest.strip_prefix(&["-"]).unwrap_or(rest);
    let git_ref = match rest {
        // Pages of files at Bitbucket.
        ["src", name, ..] if provider == Some(GitProvider::Bitbucket) => Some(*name),
        ["src", kind, name, ..] if GITEA_KINDS.contains(kind) => Some(*name),
        [page, name, ..] if PAGES.contains(page) => Some(*name),
        _ => None,
    };
    let repository = bare(parts.get(..repository_ends).unwrap_or(&parts));
    Some(WebPage { shown: bare(&parts), repository, git_ref: git_ref.map(str::to_owned) })
}

fn of_satellite(url: &Url, parts: &[&str]) -> Option<WebPage> {
    let host = url.host_str()?;
    let (_, home, before, place) = SATELLITES.iter().find(|(satellite, ..)| *satellite == host)?;
    let [owner, name, rest @ ..] = parts.strip_prefix(*before)? else { return None };
    let git_ref = match (place, rest) {
        (Ref::Next, ["refs", "heads" | "tags", name, ..] | [name, ..]) | (Ref::Last, [_, .., name]) => Some(*name),
        (Ref::AfterPage, [page, name, ..]) if PAGES.contains(page) => Some(*name),
        _ => None,
    };
    let name = name.strip_suffix(".git").unwrap_or(name);
    Some(WebPage {
        shown: format!("{}://{host}/{}", url.scheme(), parts.join("/")),
        repository: format!("https://{home}/{owner}/{name}"),
        git_ref: git_ref.map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_web_page_is_told_from_that_of_a_repository() {
        for (address, expected) in [
            ("https://github.com/octo/alpha", None),
            ("https://github.com/octo/alpha.git", None),
            ("https://github.com/octo/alpha/", None),
            ("https://gitlab.com/group/sub/alpha", None),
            ("https://dev.azure.com/org/project/_git/repo", None),
            ("https://git.example.com/scm/group/sub/alpha.git?x=1", None),
            ("https://git.example.com/alpha.git", None),
            ("ssh://git@github.com/octo/alpha/tree/main", None),
            ("https://github.com/octo/alpha/tree/main/docs", Some(("https://github.com/octo/alpha", Some("main")))),
            ("https://github.com/octo/alpha/blob/v1/a.md", Some(("https://github.com/octo/alpha", Some("v1")))),
            ("https://github.com/octo/alpha/pull/3", Some(("https://github.com/octo/alpha", None))),
            ("https://github.com/octo/alpha#readme", Some(("https://github.com/octo/alpha", None))),
            ("https://github.com/octo/alpha?tab=readme", Some(("https://github.com/octo/alpha", None))),
            ("https://github.com/octo", None),
            ("https://gitlab.com/g/sub/a/-/tree/dev", Some(("https://gitlab.com/g/sub/a", Some("dev")))),
            ("https://gitlab.com/g/a/tree/dev", Some(("https://gitlab.com/g/a", Some("dev")))),
            ("https://git.example.com/g/a/-/issues", Some(("https://git.example.com/g/a", None))),
            ("https://git.example.com/g/a/tree/x", Some(("https://git.example.com/g/a", Some("x")))),
            ("https://bitbucket.org/w/a/src/main/b", Some(("https://bitbucket.org/w/a", Some("main")))),
            ("https://codeberg.org/o/a/src/branch/dev/b", Some(("https://codeberg.org/o/a", Some("dev")))),
            ("https://git.example.com/o/a/src/tag/v1", Some(("https://git.example.com/o/a", Some("v1")))),
            ("https://git.example.com/o/src/branch/x.git", None),
            ("https://raw.githubusercontent.com/o/a/v1/b/c.md", Some(("https://github.com/o/a", Some("v1")))),
            ("https://raw.githubusercontent.com/o/a/refs/heads/dev/c", Some(("https://github.com/o/a", Some("dev")))),
            ("https://codeload.github.com/o/a/tar.gz/main", Some(("https://github.com/o/a", Some("main")))),
            ("https://codeload.github.com/o/a/zip/refs/tags/v1", Some(("https://github.com/o/a", Some("v1")))),
            ("https://github.dev/o/a/blob/v2/c.md", Some(("https://github.com/o/a", Some("v2")))),
            ("https://vscode.dev/github/o/a", Some(("https://github.com/o/a", None))),
            ("https://www.github.com/o/a.git", Some(("https://github.com/o/a", None))),
            ("https://api.github.com/repos/o/a/contents", Some(("https://github.com/o/a", None))),
            ("https://api.bitbucket.org/2.0/repositories/w/a", Some(("https://bitbucket.org/w/a", None))),
            ("https://raw.githubusercontent.com.example/o/a", None),
            ("https://dev.azure.com/o/p/_git/r?path=/a", Some(("https://dev.azure.com/o/p/_git/r", None))),
        ] {
            let found = of(&Url::parse(address).unwrap());
            let found = found.as_ref().map(|page| (page.repository.as_str(), page.git_ref.as_deref()));
            assert_eq!(found, expected, "{address}");
        }
    }

    #[test]
    fn the_problem_says_what_to_write_and_shows_no_password() {
        let page = of(&Url::parse("https://me:hunter22@github.com/octo/alpha/tree/main/docs").unwrap()).unwrap();
        let problem = page.problem().to_string();
        assert!(problem.contains("`url: https://github.com/octo/alpha` and `ref: main`"), "{problem}");
        assert!(!problem.contains("hunter22"), "{problem}");
    }
}
