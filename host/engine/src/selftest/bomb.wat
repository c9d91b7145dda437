;; Takes memory, page by page, and touches it.
(component
  (core module $m
    (memory 1)
    (func $f (loop (drop (memory.grow (i32.const 1))) (br 0)))
    (start $f))
  (core instance (instantiate $m)))
