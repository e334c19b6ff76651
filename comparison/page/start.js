// Draw all parts, and mark the current section in the navigation.

redraw();
let width = innerWidth;
let waiting;
addEventListener("resize", () => {
  if (width === innerWidth) return; // a phone's address bar comes and goes
  width = innerWidth;
  clearTimeout(waiting);
  waiting = setTimeout(redraw, 150);
});
const watcher = new IntersectionObserver((entries) => entries.forEach((entry) => {
  document.querySelector(`nav a[href="#${entry.target.id}"]`).classList.toggle("here", entry.isIntersecting);
}), { rootMargin: "-30% 0px -65% 0px" });
document.querySelectorAll("section").forEach((section) => watcher.observe(section));
