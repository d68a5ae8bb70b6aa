// An equation within a sentence that is wider than its column gets a line and a scroll box.
window.addEventListener("load", async () => {
  if (!window.MathJax?.startup) return;
  await MathJax.startup.promise;
  const mark = () => document.querySelectorAll("span.math").forEach((equation) => {
    equation.classList.remove("wide");
    const column = equation.closest("p, li, td, dd, summary") ?? equation.parentElement;
    const room = column.getBoundingClientRect().right - column.getBoundingClientRect().left;
    const set = equation.querySelector("mjx-container");
    if (set && set.getBoundingClientRect().width > room) equation.classList.add("wide");
  });
  mark();
  window.addEventListener("resize", mark);
});
