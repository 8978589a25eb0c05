;; What Ruby asks of JavaScript; it asks for nothing to show its version.
(module
  (func (export "resource_drop_js-abi-value") (param i32) unreachable)
  (func (export "resource_new_rb-abi-value") (param i32) (result i32) unreachable)
  (func (export "resource_get_rb-abi-value") (param i32) (result i32) unreachable))
