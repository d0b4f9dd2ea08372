// Package greet makes lines.
package greet

// Line greets one.
func Line(who string) string { return "hello, " + who }
