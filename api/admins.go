package api

import "time"

// Credentials sign an administrator in.
type Credentials struct {
	Username string `json:"username"`
	Password Secret `json:"password"`
}

// SignedIn answers a sign-in. Token is a login token; ID is its id.
type SignedIn struct {
	Message  string   `json:"message"`
	Token    Secret   `json:"token"`
	Role     string   `json:"role"`
	ID       string   `json:"id"`
	Username string   `json:"username"`
	ReadOnly bool     `json:"readOnly"`
	Tags     []string `json:"tags"`
}

// The kinds of a caller.
const (
	KindToken    = "token"
	KindLogin    = "login"
	KindOperator = "operator"
)

// Identity is who the caller is. An operator on the server's own socket has no
// id.
type Identity struct {
	ID        string     `json:"id"`
	Kind      string     `json:"kind"`
	ClientID  string     `json:"client_id"`
	Role      string     `json:"role"`
	Tags      []string   `json:"tags"`
	Audience  []string   `json:"audience"`
	ExpiresAt *time.Time `json:"expires_at"`
}

// Admin is an administrator.
type Admin struct {
	Name              string    `json:"name"`
	CreatedAt         time.Time `json:"created_at"`
	CreatedBy         string    `json:"created_by"`
	PasswordChangedAt time.Time `json:"password_changed_at"`
}

// AdminList is every administrator by name; NextCursor is always "".
type AdminList struct {
	Items      []Admin `json:"items"`
	NextCursor string  `json:"next_cursor"`
}

// NewPassword replaces a password.
type NewPassword struct {
	Password Secret `json:"password"`
}
