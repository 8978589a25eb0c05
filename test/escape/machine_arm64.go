package escape

// ofArchitecture is empty: a 64-bit process has no other interface here.
var ofArchitecture []Attempt
