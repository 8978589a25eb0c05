// Package oci finds out, from a runtime spec and an image, what shall run.
package oci
