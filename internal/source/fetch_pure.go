package source

import (
	"context"
	"errors"
	"slices"

	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
)

// fetchPure is fetch without the git program.
func (r remote) fetchPure(ctx context.Context, ref, dir string) (string, error) {
	repo, err := git.PlainInit(dir, true)
	if err != nil {
		return "", err
	}
	far, err := repo.CreateRemote(&config.RemoteConfig{Name: "o", URLs: []string{r.url}})
	if err != nil {
		return "", r.explain("", err)
	}
	auth := r.auth()
	refs, err := far.ListContext(ctx, &git.ListOptions{Auth: auth})
	if err != nil {
		return "", r.explain(err.Error(), err)
	}
	if name, hash, ok := findRef(refs, ref); ok {
		err := far.FetchContext(ctx, &git.FetchOptions{
			Auth: auth, Depth: 1, Tags: git.NoTags,
			RefSpecs: []config.RefSpec{config.RefSpec("+" + name + ":" + fetchedRef)},
		})
		if err != nil && !errors.Is(err, git.NoErrAlreadyUpToDate) {
			return "", r.explain(err.Error(), err)
		}
		return peel(repo, hash.String())
	}
	if !isHash(ref) {
		return "", r.noSuchRef(ref, refNames(refs))
	}
	return r.fetchHash(ctx, repo, far, auth, refs, ref)
}

// fetchHash brings a commit by its hash: alone if the server allows that and
// the hash is a full one, else among all branches and tags.
func (r remote) fetchHash(ctx context.Context, repo *git.Repository, far *git.Remote, auth transport.AuthMethod,
	refs []*plumbing.Reference, hash string,
) (string, error) {
	if len(hash) == fullHash {
		err := far.FetchContext(ctx, &git.FetchOptions{
			Auth: auth, Depth: 1, Tags: git.NoTags,
			RefSpecs: []config.RefSpec{config.RefSpec(hash + ":" + fetchedRef)},
		})
		if err == nil || errors.Is(err, git.NoErrAlreadyUpToDate) {
			return peel(repo, hash)
		}
	}
	err := far.FetchContext(ctx, &git.FetchOptions{Auth: auth, Tags: git.NoTags, RefSpecs: []config.RefSpec{
		"+refs/heads/*:refs/remotes/o/*", "+refs/tags/*:refs/tags/*",
	}})
	if err != nil && !errors.Is(err, git.NoErrAlreadyUpToDate) {
		return "", r.explain(err.Error(), err)
	}
	commit, err := peel(repo, hash)
	if err != nil {
		return "", r.noSuchRef(hash, refNames(refs))
	}
	return commit, nil
}

func (r remote) auth() transport.AuthMethod {
	if r.user == "" && r.password == "" {
		return nil
	}
	return &githttp.BasicAuth{Username: r.user, Password: r.password}
}

// findRef looks for ref in git's order of preference and follows HEAD.
func findRef(refs []*plumbing.Reference, ref string) (name string, hash plumbing.Hash, ok bool) {
	candidates := []string{ref, "refs/" + ref, "refs/tags/" + ref, "refs/heads/" + ref}
	if ref == "" || ref == "HEAD" {
		candidates = []string{"HEAD"}
	}
	for _, want := range candidates {
		for _, have := range refs {
			if have.Name().String() != want {
				continue
			}
			if have.Type() == plumbing.SymbolicReference {
				return findRef(refs, have.Target().String())
			}
			return want, have.Hash(), true
		}
	}
	return "", plumbing.ZeroHash, false
}

func refNames(refs []*plumbing.Reference) (names []string) {
	for _, ref := range refs {
		if ref.Name().IsBranch() || ref.Name().IsTag() {
			names = append(names, ref.Name().Short())
		}
	}
	slices.Sort(names)
	return names
}

// peel returns the commit that rev, perhaps an annotated tag, leads to.
func peel(repo *git.Repository, rev string) (string, error) {
	hash, err := repo.ResolveRevision(plumbing.Revision(rev))
	if err != nil {
		return "", err
	}
	for range 8 { // a tag of a tag of a tag …
		tag, err := repo.TagObject(*hash)
		if err != nil {
			break
		}
		hash = &tag.Target
	}
	if _, err := repo.CommitObject(*hash); err != nil {
		return "", err
	}
	return hash.String(), nil
}
