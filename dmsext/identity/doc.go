// Package identity says who may use the queue service: projects, users with their tokens, access keys with their
// signatures (DMS reference, sections 12.1 and 12.2).
//
// It owns the documents of kinds projects, users and access-keys, and those of kind secrets whose names begin with
// "identity/". All of them are read from and written to the broker through its front door (protocol/private); nothing is
// kept here but a bounded cache of decoded documents, by revision. It knows nothing of queues.
//
// # Documents
//
//	projects/<id>              name, domain, description
//	users/<name>               id, domain, password (Argon2id), roles, projects, access keys, token epoch, revoked tokens
//	access-keys/<access key>   user, project, description, the secret key sealed with AES-256-GCM
//	secrets/identity/registry  how many projects, users and administrators there are
//	secrets/identity/tokens    the two newest generations of the key that authenticates tokens
//	secrets/identity/sealing   the key that seals secret keys
//
// Invariants, each held by the conditions of the write that could break it:
//
//   - Every creation and deletion of a project or user, and every change of roles, changes the registry: names of projects
//     are unique, limits hold, the first user is an administrator, and so is one user as long as there are several.
//   - Giving a user or an access key a project puts the project's document again, so that a deletion of the project that
//     did not see it fails: nothing refers to a project that is not there.
//   - A user's document lists the user's access keys, and they are deleted with it, and with the loss of their project: an
//     access key that exists may be used for its project, and its own document is all that a signature needs.
//
// # Tokens
//
// A token is self-contained: a login that was checked, the project it is for and until when, authenticated with HMAC-SHA256
// (token.go has the layout). What it costs the service is nothing until it is revoked: then the user's document names it
// until it would have ended; with too many of them all tokens of that user end. A change of password ends all of them too.
package identity
